#include "diffract/weights/weight.h"

#include "diffract/core/heartbeat.h"
#include "diffract/core/stop.h"

namespace diffract::weights {
namespace {

// One buffer a thread, as large as the largest weight it has met: allocating afresh for each layer would
// spend more time in page faults than the conversion itself takes.
at::Tensor& scratch() {
  thread_local at::Tensor buffer;
  return buffer;
}

}  // namespace

at::Tensor Weight::get() const {
  // Every layer passes here: a long step of a large model is seen to go on, and can be stopped.
  heartbeat();
  stop_if_asked();
  if (stored_.scalar_type() == arithmetic_) return stored_;
  at::Tensor& buffer = scratch();
  const auto options = at::TensorOptions().dtype(arithmetic_).device(stored_.device());
  if (!buffer.defined() || buffer.numel() < stored_.numel() ||
      buffer.options().device() != options.device() || buffer.scalar_type() != arithmetic_)
    buffer = at::empty({stored_.numel()}, options);
  at::Tensor widened = buffer.narrow(0, 0, stored_.numel()).view(stored_.sizes());
  widened.copy_(stored_);
  return widened;
}

Weight Weight::rows(int64_t first, int64_t count) const {
  Weight part = *this;
  part.stored_ = stored_.narrow(0, first, count);
  if (scales_.defined()) part.scales_ = scales_.narrow(0, first, count);
  return part;
}

Weight Weight::joined(const std::vector<Weight>& matrices) {
  std::vector<at::Tensor> stored, scales;
  for (const Weight& matrix : matrices) {
    stored.push_back(matrix.stored_);
    if (matrix.scales_.defined()) scales.push_back(matrix.scales_);
  }
  Weight all = matrices.front();
  all.stored_ = weights::joined(stored);
  if (!scales.empty()) all.scales_ = weights::joined(scales);
  return all;
}

at::Tensor joined(const std::vector<at::Tensor>& tensors) {
  const at::Tensor& first = tensors.front();
  int64_t elements = 0, rows = 0;
  for (const at::Tensor& tensor : tensors) {
    const bool follows = tensor.is_contiguous() && tensor.is_alias_of(first) &&
                         tensor.storage_offset() == first.storage_offset() + elements;
    if (!follows) return at::cat(tensors);
    elements += tensor.numel();
    rows += tensor.size(0);
  }
  std::vector<int64_t> sizes = first.sizes().vec();
  sizes.front() = rows;
  return first.as_strided(sizes, first.strides(), first.storage_offset());
}

void release_scratch() { scratch() = at::Tensor(); }

}  // namespace diffract::weights
