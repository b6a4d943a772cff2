#include "diffract/weights/checkpoint.h"

#include <algorithm>
#include <limits>

#include "diffract/core/error.h"

namespace diffract::weights {
namespace {

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
    default:
      throw CheckpointError("{}: has dtype {}; expected a weight in F64, F32, F16 or BF16", where,
                            io::dtype_name(dtype));
  }
}

std::vector<int64_t> torch_shape(const io::TensorInfo& info) {
  return {info.shape.begin(), info.shape.end()};  // the header's check bounds them by the file's size
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const io::WeightFiles& files, UseObserver observe) {
  auto checkpoint = std::make_shared<Checkpoint>();
  for (const auto& path : files.files) {
    const auto file = files.open(path);
    for (const io::TensorInfo& info : file->tensors()) {
      const auto [existing, added] = checkpoint->tensors_.emplace(info.name, Entry{file, &info});
      if (!added)
        throw CheckpointError("{}: tensor \"{}\" stands in {} too", path.string(), info.name,
                              existing->second.file->path().string());
      checkpoint->total_elements_ +=
          static_cast<int64_t>((info.end - info.begin) * 8 / io::dtype_bits(info.dtype));
      checkpoint->total_bytes_ += info.end - info.begin;
    }
  }
  checkpoint->description_ = files.description;
  checkpoint->observe_ = std::move(observe);
  return checkpoint;
}

std::shared_ptr<const Checkpoint> Checkpoint::made(Maker make, std::function<bool(const std::string&)> has) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->make_ = std::move(make);
  checkpoint->has_ = std::move(has);
  checkpoint->total_elements_ = std::numeric_limits<int64_t>::max();  // kept as they are made
  return checkpoint;
}

std::shared_ptr<const Checkpoint> Checkpoint::make_meta(Asked asked) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->asked_ = std::move(asked);
  return checkpoint;
}

StoredTensor Checkpoint::stored(const std::string& name, at::IntArrayRef shape) const {
  if (make_) return {make_(name, shape), nullptr, 0};
  if (asked_) {
    asked_(name, shape);
    return {at::empty(shape, at::TensorOptions(at::kFloat).device(at::kMeta)), nullptr, 0};
  }
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw CheckpointError("{}: tensor \"{}\" is missing; expected one of shape {}", description_, name,
                          c10::str(shape));
  const auto& [file, info] = found->second;
  const std::string where = fmt::format("{}: tensor \"{}\"", file->path().string(), name);
  const at::ScalarType dtype = scalar_type(info->dtype, where);
  const auto actual = torch_shape(*info);
  if (at::IntArrayRef(actual) != shape)
    throw CheckpointError("{}: has shape {}; expected {}", where, c10::str(at::IntArrayRef(actual)),
                          c10::str(shape));
  {
    const std::lock_guard lock(mutex_);
    if (used_.insert(name).second) {
      used_bytes_ += info->end - info->begin;
      if (observe_) observe_(used_bytes_, total_bytes_);
    }
  }
  const auto bytes = file->bytes(*info);
  // The mapping is read-only; no layer writes to its weights. The view keeps the file mapped.
  void* data = const_cast<std::byte*>(bytes.data());
  at::Tensor view = at::from_blob(
      data, shape, [keep = file](void*) {}, at::TensorOptions(dtype));
  // Files written by other tools may not align their data to the element; vector loads want at least that.
  const bool aligned = reinterpret_cast<uintptr_t>(data) % view.element_size() == 0;
  if (aligned) return {view, file, file->offset(*info)};
  at::Tensor copy = at::empty(shape, dtype);
  std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(copy.data_ptr()));
  return {copy, file, file->offset(*info)};
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
