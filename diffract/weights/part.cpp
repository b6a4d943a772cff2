#include "diffract/weights/part.h"

namespace diffract::weights {
namespace {

constexpr uint64_t kAlignment = 256;  // what every device's vector loads and matrix products like

}  // namespace

void Part::add(PartTensor tensor) {
  tensor.begin = rounded_up(bytes, kAlignment);
  bytes = tensor.begin + tensor.bytes();
  tensors.push_back(std::move(tensor));
}

void Part::lie_as_in_files() {
  bytes = 0;
  for (PartTensor& tensor : tensors) {
    const uint64_t width = c10::elementSize(tensor.dtype), offset = tensor.stored.offset;
    tensor.has_pages = tensor.stored.file && !tensor.is_converted() && offset % width == 0;
    if (!tensor.has_pages) {
      tensor.begin = rounded_up(bytes, kAlignment);
      bytes = tensor.begin + tensor.bytes();
      continue;
    }
    tensor.begin = rounded_up(bytes, kPage) + offset % kPage;
    bytes = rounded_up(tensor.begin + tensor.bytes(), kPage);
  }
}

LoadedTensors unpack(const Part& part, const at::Tensor& memory) {
  LoadedTensors tensors;
  tensors.reserve(part.tensors.size());
  for (const PartTensor& tensor : part.tensors)
    tensors.emplace(tensor.name,
                    memory.narrow(0, static_cast<int64_t>(tensor.begin), static_cast<int64_t>(tensor.bytes()))
                        .view(tensor.dtype)
                        .view(tensor.stored.view.sizes()));
  return tensors;
}

at::Tensor converted(const at::Tensor& stored, std::optional<at::ScalarType> storage, at::ScalarType dtype) {
  return (storage ? stored.to(*storage) : stored).to(dtype);
}

}  // namespace diffract::weights
