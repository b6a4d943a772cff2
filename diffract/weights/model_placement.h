#pragma once
#include <ATen/ATen.h>

#include <optional>

#include "diffract/distributed/rank_tensor.h"
#include "diffract/placement/device_map.h"

namespace diffract::weights {

/// Where the weights of a module are when it is not computing.
enum class Source {
  device,  // where it is computed
  host,    // in the CPU's memory, while an accelerator computes
  disk,    // in the checkpoint's files
};

struct Location {
  at::Device device;  // that computes
  Source source;
};

/// Where a model's modules are kept and computed.
struct ModelPlacement {
  placement::DeviceMap map = {};  // empty: everything on `device`
  at::Device device = at::kCPU;   // computes what the map keeps in CPU memory or on disk
  c10::DeviceType accelerator = c10::DeviceType::CUDA;  // of the map's numbers
  /// Small models may be kept in the arithmetic's dtype, wider than their files': no budget is to be kept.
  bool may_widen = false;
  /// What those may take of `device` while they are brought there; unset: from what is free.
  std::optional<uint64_t> stream_bytes = {};
  /// WeightStream::Options::parts_in_transit, where budgets were planned for another number.
  std::optional<uint64_t> parts_in_transit = {};
  /// Weights that stay on disk and are used in another dtype than their files have are written here in that
  /// dtype, once; empty: they are converted each time they are read.
  std::string offload_folder = {};

  at::Device device_of(placement::Place place) const {
    if (place.is_rank()) return distributed::rank_device(place.index());
    if (!place.is_accelerator()) return device;
    return {accelerator, static_cast<c10::DeviceIndex>(place.index())};
  }
  Location location(placement::Place place) const {
    if (place.is_accelerator() || place.is_rank()) return {device_of(place), Source::device};
    if (place.is_disk()) return {device, Source::disk};
    return {device, device.is_cpu() ? Source::device : Source::host};
  }
};

}  // namespace diffract::weights
