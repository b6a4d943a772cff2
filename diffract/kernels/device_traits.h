#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

/// What pays on a device. Models and layers ask for the fact and not for the device, so that another kind of
/// device answers for itself here.
struct DeviceTraits {
  /// A sum costs nothing where a kernel reads or writes one of its terms anyway: biases and residuals go with
  /// the product, the convolution or the norm beside them.
  bool fuses_sums = false;
  /// Products over one input are faster as one product over weights that lie behind each other.
  bool prefers_one_product = false;
  /// A product, or attention, writes into a part of a wider tensor without a copy.
  bool writes_into_parts = false;
  /// Convolutions read and write channels-last.
  bool channels_last = false;
  /// Large feature maps go band by band, since copies of them would be most of the memory.
  bool bands_large_maps = false;
};

const DeviceTraits& traits(at::Device device);
inline const DeviceTraits& traits(const at::Tensor& on) { return traits(on.device()); }

}  // namespace diffract::kernels
