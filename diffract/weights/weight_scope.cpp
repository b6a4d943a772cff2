#include "diffract/weights/weight_scope.h"

#include <algorithm>
#include <map>
#include <vector>

#include "diffract/core/error.h"

namespace diffract::weights {
namespace {

at::Tensor on_device(const at::Tensor& tensor, at::Device device) {
  const bool is_there = tensor.device() == device || tensor.is_meta();  // meta: only shapes are asked for
  return is_there ? tensor : tensor.to(device);
}

constexpr int64_t kWidenBelowElements = 64 << 20;  // 256 MiB of float32

}  // namespace

bool is_widened(int64_t elements) { return elements < kWidenBelowElements; }

WeightScope::WeightScope(TensorSourcePtr source, const tensor::DtypePolicy& policy, at::Device device)
    : WeightScope(std::move(source), policy, ModelPlacement{.device = device}, nullptr) {}

WeightScope::WeightScope(TensorSourcePtr source, const tensor::DtypePolicy& policy, ModelPlacement placement,
                         std::shared_ptr<WeightStream> stream) {
  // A map's budgets are for the weights as they are stored.
  const bool widen = is_widened(source->total_elements()) && (placement.map.empty() || placement.may_widen);
  root_ = std::make_shared<const Root>(Root{.source = std::move(source),
                                            .policy = policy,
                                            .placement = std::move(placement),
                                            .stream = std::move(stream),
                                            .widen_at_load = widen});
}

WeightScope WeightScope::at_least_float32() const {
  WeightScope same = *this;
  if (arithmetic() != at::kHalf) return same;
  auto root = std::make_shared<Root>(*root_);
  root->policy.arithmetic = at::kFloat;
  same.root_ = std::move(root);
  return same;
}

WeightScope WeightScope::child(std::string_view module, std::string_view tensors) const {
  WeightScope below = *this;
  below.module_ = placement::join_name(module_, module);
  below.tensors_ = placement::join_name(tensors_, tensors);
  return below;
}

bool WeightScope::has(std::string_view name) const {
  return root_->source->has(placement::join_name(tensors_, name));
}

at::Tensor WeightScope::fetch(std::string_view name, at::IntArrayRef shape, bool widen) const {
  std::string full_name = placement::join_name(tensors_, name);
  if (loaded_) return loaded_->at(full_name);
  StoredTensor stored = root_->source->stored(full_name, shape);
  if (device_ && device_->is_meta())
    return at::empty(shape, at::TensorOptions(root_->policy.arithmetic).device(at::kMeta));
  const auto& storage = root_->policy.storage;  // rounds small tensors in the same way as large ones
  const at::ScalarType kept = storage.value_or(stored.view.scalar_type());
  const at::ScalarType dtype = widen ? root_->policy.arithmetic : kept;
  if (!part_) {
    const at::Device device = placed_device();
    at::Tensor placed;
    if (stored.view.is_cpu() && !device.is_cpu()) {
      placed = root_->loader->bring(std::move(stored), storage, dtype, device);
    } else {
      placed = converted(stored.view, storage, dtype);
      if (stored.change) {
        if (placed.is_alias_of(stored.view)) placed = placed.clone();  // of the mapped file
        change(stored, placed, 0);
      }
      placed = on_device(placed, device);
    }
    if (root_->stream && placed.device() == root_->stream->device())
      root_->stream->add_resident(placed.nbytes());
    return placed;
  }
  part_->add({.module_name = placement::join_name(module_, name),
              .name = std::move(full_name),
              .stored = std::move(stored),
              .storage = storage,
              .dtype = dtype});
  // Without data: what a constructor made of it would be made again when the layer is built.
  return at::empty(shape, at::TensorOptions(dtype).device(at::kMeta));
}

Weight WeightScope::weight(std::string_view name, at::IntArrayRef shape) const {
  return {fetch(name, shape, root_->widen_at_load), root_->policy.arithmetic};
}

Weight WeightScope::matrix(std::string_view name, at::IntArrayRef shape) const {
  Weight dense = weight(name, shape);
  const auto& policy = root_->policy;
  const bool is_narrow = policy.float8 && !is_without_float8_ && !part_ &&
                         kernels::can_multiply_float8(dense.stored(), policy.smallest_float8);
  return is_narrow ? Weight(kernels::to_float8(dense.stored())) : dense;
}

at::Tensor WeightScope::tensor(std::string_view name, at::IntArrayRef shape) const {
  return fetch(name, shape, /*widen=*/true);
}

WeightScope WeightScope::on(at::Device device) const {
  WeightScope placed = *this;
  placed.device_ = device;
  return placed;
}

WeightScope WeightScope::from(const LoadedTensors& loaded) const {
  WeightScope placed = on(root_->placement.device);
  placed.loaded_ = &loaded;
  return placed;
}

WeightScope WeightScope::recording(Part& part) const {
  WeightScope recorded = on(at::kCPU);
  recorded.part_ = &part;
  part.name = module_;
  return recorded;
}

Location WeightScope::location(const Part& part, bool is_block) const {
  const auto& placement = root_->placement;
  if (placement.map.empty())
    return {placement.device, root_->stream && is_block ? Source::disk : Source::device};
  if (part.tensors.empty()) return {placement.device, Source::device};
  std::map<placement::Place, std::vector<std::string>> names;
  for (const PartTensor& tensor : part.tensors)
    names[placement.map.at(tensor.module_name)].push_back(tensor.module_name);
  const auto fewer = [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); };
  const auto [fewest, most] = std::minmax_element(names.begin(), names.end(), fewer);
  if (names.size() > 1)
    throw UsageError(
        "device_map: \"{}\" is divided between {} and {} (\"{}\"); it computes as a whole: give all "
        "of it one place",
        module_, most->first.name(), fewest->first.name(), fewest->second.front());
  return placement.location(most->first);
}

}  // namespace diffract::weights
