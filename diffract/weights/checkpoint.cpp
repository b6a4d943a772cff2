#include "diffract/weights/checkpoint.h"

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::weights {

at::ScalarType scalar_type(io::Dtype dtype, const std::string& where) {
  switch (dtype) {
    case io::Dtype::F64:
      return at::kDouble;
    case io::Dtype::F32:
      return at::kFloat;
    case io::Dtype::F16:
      return at::kHalf;
    case io::Dtype::BF16:
      return at::kBFloat16;
    case io::Dtype::F8_E4M3:
      return at::kFloat8_e4m3fn;
    case io::Dtype::F8_E5M2:
      return at::kFloat8_e5m2;
    default:
      throw CheckpointError(
          "{}: has dtype {}; expected a weight in F64, F32, F16, BF16, F8_E4M3 or F8_E5M2. Quantized weights "
          "are not read yet",
          where, io::dtype_name(dtype));
  }
}

namespace {

// As a model has it.
std::vector<int64_t> torch_shape(const io::StoredWeight& weight) {
  auto shape = weight.shape();  // the header's check bounds them by the file's size
  if (weight.part.is_transposed) std::reverse(shape.begin(), shape.end());
  return {shape.begin(), shape.end()};
}

std::string place_of(const io::StoredWeight& weight, const std::string& name) {
  const std::string& stored = weight.info->name;
  return fmt::format("{}: tensor \"{}\"{}", weight.file->path().string(), stored,
                     stored == name ? "" : fmt::format(" (\"{}\")", name));
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const io::WeightFiles& files, UseObserver observe) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->tensors_ = io::open_weight_files(files);
  for (const auto& [name, weight] : checkpoint->tensors_) {
    checkpoint->total_elements_ += static_cast<int64_t>(weight.elements());
    checkpoint->total_bytes_ += weight.size();
    checkpoint->dtypes_.insert(weight.info->dtype);
  }
  checkpoint->description_ = files.description;
  checkpoint->observe_ = std::move(observe);
  return checkpoint;
}

StoredTensor Checkpoint::stored(const std::string& name, at::IntArrayRef shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw CheckpointError("{}: tensor \"{}\" is missing; expected one of shape {}", description_, name,
                          c10::str(shape));
  const io::StoredWeight& weight = found->second;
  const std::string where = place_of(weight, name);
  const at::ScalarType dtype = scalar_type(weight.info->dtype, where);
  if (c10::elementSize(dtype) == 1) require_no_scale(name, where);
  const auto actual = torch_shape(weight);
  if (at::IntArrayRef(actual) != shape)
    throw CheckpointError("{}: has shape {}; expected {}", where, c10::str(at::IntArrayRef(actual)),
                          c10::str(shape));
  {
    const std::lock_guard lock(mutex_);
    if (used_.insert(name).second) {
      used_bytes_ += weight.size();
      if (observe_) observe_(used_bytes_, total_bytes_);
    }
  }
  return view_of(weight, dtype);
}

StoredTensor Checkpoint::view_of(const io::StoredWeight& weight, at::ScalarType dtype) {
  const auto bytes = weight.bytes();
  const auto shape = weight.shape();
  const std::vector<int64_t> sizes(shape.begin(), shape.end());
  // The mapping is read-only; no layer writes to its weights. The view keeps the file mapped.
  void* data = const_cast<std::byte*>(bytes.data());
  at::Tensor view = at::from_blob(
      data, sizes, [keep = weight.file](void*) {}, at::TensorOptions(dtype));
  // Files written by other tools may not align their data to the element; vector loads want at least that.
  const bool aligned = reinterpret_cast<uintptr_t>(data) % view.element_size() == 0;
  if (!aligned) {
    at::Tensor copy = at::empty(sizes, dtype);
    std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(copy.data_ptr()));
    view = copy;
  }
  // One small matrix of a text encoder: a copy, which is then in no file.
  if (weight.part.is_transposed) return {view.t().contiguous(), nullptr, 0};
  return {view, weight.file, weight.offset()};
}

// Float8 weights with a scale beside them are a quantized format: without it they are other numbers.
void Checkpoint::require_no_scale(const std::string& name, const std::string& where) const {
  const std::string module = name.substr(0, name.rfind('.') + 1);
  for (const std::string& scale : {name + "_scale", name + "_scale_inv", module + "scale_weight"})
    if (tensors_.count(scale) > 0)
      throw CheckpointError(
          "{}: has a scale beside it, \"{}\"; diffract reads float8 weights without scales only. Quantized "
          "weights are not read yet",
          where, scale);
}

std::vector<std::string> Checkpoint::unused() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& entry : tensors_)
    if (!used_.count(entry.first)) names.push_back(entry.first);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace diffract::weights
