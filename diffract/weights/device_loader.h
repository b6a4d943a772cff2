#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "diffract/weights/part_reader.h"

namespace diffract::weights {

/// Brings tensors to accelerators while a model is built. Several threads read a tensor's file (past the page
/// cache where it has not all of it) or convert it, and each chunk is copied from pinned memory while the
/// next one is read: so loading is as fast as the bus or the disk. Thread-safe.
class DeviceLoader {
 public:
  /// `stored` as `dtype`, rounded to `storage` first where that is set, on `device` (an accelerator). What is
  /// computed with it from now on begins behind its copies. Throws IoError naming the file.
  at::Tensor bring(StoredTensor stored, std::optional<at::ScalarType> storage, at::ScalarType dtype,
                   at::Device device);
  /// Gives the pinned memory back: the model is built.
  void finish();

 private:
  std::mutex mutex_;
  std::map<at::DeviceIndex, std::unique_ptr<PartReader>> readers_;
};

}  // namespace diffract::weights
