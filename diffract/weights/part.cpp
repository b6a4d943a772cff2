#include "diffract/weights/part.h"

namespace diffract::weights {
namespace {

constexpr uint64_t kAlignment = 256;  // what every device's vector loads and matrix products like

}  // namespace

void Part::add(PartTensor tensor) {
  tensor.begin = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  bytes = tensor.begin + tensor.bytes();
  tensors.push_back(std::move(tensor));
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
