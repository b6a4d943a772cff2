#include "diffract/weights/part.h"

#include <algorithm>
#include <utility>

#include "diffract/placement/spread.h"

namespace diffract::weights {
namespace {

constexpr uint64_t kAlignment = 256;  // what every device's vector loads and matrix products like

}  // namespace

void Part::add(PartTensor tensor) {
  tensor.begin = rounded_up(bytes, kAlignment);
  bytes = tensor.begin + tensor.bytes();
  tensors.push_back(std::move(tensor));
}

void Part::matrices_first() {
  std::vector<PartTensor> all = std::exchange(tensors, {});
  std::stable_partition(all.begin(), all.end(), [](const PartTensor& t) { return t.stored.view.dim() > 1; });
  bytes = 0;
  for (PartTensor& tensor : all) add(std::move(tensor));
}

void Part::lie_as_in_files() {
  std::stable_sort(tensors.begin(), tensors.end(), [](const PartTensor& a, const PartTensor& b) {
    return std::pair(a.stored.file.get(), a.stored.offset) < std::pair(b.stored.file.get(), b.stored.offset);
  });
  for (PartTensor& tensor : tensors)
    tensor.has_pages = tensor.stored.file && tensor.bytes() > 0 && !tensor.is_converted() &&
                       tensor.stored.offset % c10::elementSize(tensor.dtype) == 0;
  bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    PartTensor& tensor = tensors[i];
    const bool continues = i > 0 && tensor.continues(tensors[i - 1]);
    if (i > 0 && tensors[i - 1].has_pages && !continues) bytes = rounded_up(bytes, kPage);
    if (!tensor.has_pages)
      tensor.begin = rounded_up(bytes, kAlignment);
    else if (!continues)
      tensor.begin = rounded_up(bytes, kPage) + tensor.stored.offset % kPage;
    else
      tensor.begin = bytes;
    bytes = tensor.begin + tensor.bytes();
  }
  bytes = rounded_up(bytes, kPage);
}

at::Tensor PartMemory::elements(const PartTensor& tensor, uint64_t first, uint64_t last) const {
  const uint64_t width = c10::elementSize(tensor.dtype);
  return bytes.narrow(0, static_cast<int64_t>(tensor.begin - begin + first * width),
                      static_cast<int64_t>((last - first) * width));
}

at::Tensor PartMemory::operator[](const PartTensor& tensor) const {
  const auto count = static_cast<uint64_t>(tensor.stored.view.numel());
  return elements(tensor, 0, count).view(tensor.dtype).view(tensor.stored.view.sizes());
}

std::vector<bool> parts_that_stay(const std::vector<Part>& parts, uint64_t may_stay) {
  std::vector<bool> stays(parts.size());
  for (const bool rare : {false, true}) {
    std::vector<size_t> places;
    std::vector<int64_t> bytes;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].is_once_for_many_steps != rare) continue;
      places.push_back(i);
      bytes.push_back(static_cast<int64_t>(parts[i].page_bytes()));
    }
    const auto kept = placement::spread_kept(bytes, static_cast<int64_t>(may_stay));
    for (size_t i = 0; i < places.size(); ++i) {
      if (!kept[i]) continue;
      stays[places[i]] = true;
      may_stay -= static_cast<uint64_t>(bytes[i]);
    }
  }
  return stays;
}

LoadedTensors unpack(const Part& part, const PartMemory& memory) {
  LoadedTensors tensors;
  tensors.reserve(part.tensors.size());
  for (const PartTensor& tensor : part.tensors) tensors.emplace(tensor.name, memory[tensor]);
  return tensors;
}

void change(const StoredTensor& stored, at::Tensor& values, int64_t first) {
  if (!stored.change || values.numel() == 0) return;
  at::Tensor flat = values.view({-1, stored.row_length()});
  at::Tensor rows = flat.to(at::kFloat);
  stored.change->apply(rows, first);
  // libtorch makes NaN of what float8 cannot hold.
  if (flat.scalar_type() == at::kFloat8_e4m3fn) rows.clamp_(-448, 448);
  if (flat.scalar_type() == at::kFloat8_e5m2) rows.clamp_(-57344, 57344);
  if (!rows.is_alias_of(flat)) flat.copy_(rows);
}

at::Tensor converted(const at::Tensor& stored, std::optional<at::ScalarType> storage, at::ScalarType dtype) {
  return (storage ? stored.to(*storage) : stored).to(dtype);
}

}  // namespace diffract::weights
