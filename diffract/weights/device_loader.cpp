#include "diffract/weights/device_loader.h"

namespace diffract::weights {
at::Tensor DeviceLoader::bring(StoredTensor stored, std::optional<at::ScalarType> storage,
                               at::ScalarType dtype, at::Device device) {
  stored.view = stored.view.contiguous();
  const std::vector<int64_t> shape = stored.view.sizes().vec();
  Part part;
  part.add({.module_name = {}, .name = {}, .stored = std::move(stored), .storage = storage, .dtype = dtype});
  const at::Tensor memory =
      at::empty({static_cast<int64_t>(part.bytes)}, at::TensorOptions(at::kByte).device(device));
  auto& backend = tensor::backend_of(device);
  const std::lock_guard lock(mutex_);
  auto& reader = readers_[device.index()];
  if (!reader) reader = std::make_unique<PartReader>(device, &backend);
  // What computes with the memory's last owner may still be running.
  reader->copy_stream()->wait(*backend.record_compute(device.index()));
  try {
    reader->load(part, {memory});
  } catch (...) {  // the memory is given back: no copy may still write to it
    try {
      reader->finish();
    } catch (const std::exception&) {  // a device that is gone copies nothing more
    }
    throw;
  }
  reader->copy_stream()->record()->compute_waits();
  return memory.view(dtype).view(shape);
}

void DeviceLoader::finish() {
  const std::lock_guard lock(mutex_);
  readers_.clear();
}

}  // namespace diffract::weights
