#include "diffract/nn/meta_meter.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/core/InferenceMode.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>

namespace diffract::nn {
namespace {

using at::Tensor;
using Optional = std::optional<Tensor>;

struct Meter {
  bool is_on = false;
  int64_t live_bytes = 0, peak_bytes = 0;
  double flops = 0;
  std::vector<std::pair<std::string, double>> parts = {};

  void add_part(const std::string& name, double part_flops) {
    for (auto& [known, sum] : parts)
      if (known == name) {
        sum += part_flops;
        return;
      }
    parts.emplace_back(name, part_flops);
  }
  void take(int64_t bytes) {
    live_bytes += bytes;
    peak_bytes = std::max(peak_bytes, live_bytes);
  }
};
thread_local Meter meter;

// Gives no memory, but counts what was asked for until it is given back.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::DeviceType::Meta);
    if (!meter.is_on || bytes == 0) return {nullptr, device};
    meter.take(static_cast<int64_t>(bytes));
    return {nullptr, new int64_t(static_cast<int64_t>(bytes)), &CountingAllocator::give_back, device};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return [](void*) {};
  }
  void copy_data(void*, const void*, size_t) const override {}

 private:
  static void give_back(void* context) {
    const std::unique_ptr<int64_t> bytes(static_cast<int64_t*>(context));
    meter.live_bytes -= *bytes;
  }
};

// What a kernel allocates beside its result and gives back before it returns.
void count_scratch(int64_t bytes) {
  meter.take(bytes);
  meter.live_bytes -= bytes;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const Optional&, at::IntArrayRef stride,
                   at::IntArrayRef padding, at::IntArrayRef dilation, bool, at::IntArrayRef, int64_t) {
  // A list of one number stands for all axes.
  const auto each = [](at::IntArrayRef numbers, size_t axis) {
    return numbers.size() == 1 ? numbers[0] : numbers[axis];
  };
  std::vector<int64_t> shape{input.size(0), weight.size(0)};
  for (int64_t axis = 2; axis < input.dim(); ++axis) {
    const auto i = static_cast<size_t>(axis - 2);
    const int64_t kernel = each(dilation, i) * (weight.size(axis) - 1) + 1;
    shape.push_back((input.size(axis) + 2 * each(padding, i) - kernel) / each(stride, i) + 1);
  }
  Tensor output = at::empty(shape, input.options());
  const int64_t products = weight.numel() / weight.size(0);  // of an output
  meter.flops += 2.0 * static_cast<double>(output.numel()) * static_cast<double>(products);
  // oneDNN works on copies in a layout of its own.
  count_scratch(static_cast<int64_t>(input.nbytes() + weight.nbytes() + output.nbytes()));
  return output;
}

Tensor linear(const Tensor& input, const Tensor& weight, const Optional&) {
  auto shape = input.sizes().vec();
  shape.back() = weight.size(0);
  if (!input.is_contiguous()) count_scratch(static_cast<int64_t>(input.nbytes()));
  Tensor output = at::empty(shape, input.options());
  meter.flops += 2.0 * static_cast<double>(output.numel()) * static_cast<double>(weight.size(1));
  return output;
}

// The flash kernel: no scores in memory, but for a block a thread.
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const Optional&, double, bool,
                 std::optional<double>, bool) {
  const int64_t batch = query.size(0), heads = query.size(1), length = query.size(2);
  Tensor output = at::empty({batch, length, heads, value.size(3)}, query.options()).transpose(1, 2);
  count_scratch(batch * heads * length * static_cast<int64_t>(sizeof(float)));  // the logarithms of the sums
  meter.flops += 2.0 * static_cast<double>(batch * heads * length) * static_cast<double>(key.size(2)) *
                 static_cast<double>(query.size(3) + value.size(3));
  return output;
}

std::tuple<Tensor, Tensor, Tensor> layer_norm(const Tensor& input, at::IntArrayRef shape, const Optional&,
                                              const Optional&, double) {
  const int64_t rows = input.numel() / c10::multiply_integers(shape);
  const auto options = input.options().dtype(at::kFloat);
  return {at::empty(input.sizes(), input.options()), at::empty({rows}, options), at::empty({rows}, options)};
}

std::tuple<Tensor, Tensor, Tensor> group_norm(const Tensor& input, const Optional&, const Optional&,
                                              int64_t batch, int64_t, int64_t, int64_t groups, double) {
  if (!input.is_contiguous()) count_scratch(static_cast<int64_t>(input.nbytes()));
  const auto options = input.options().dtype(at::kFloat);
  return {at::empty(input.sizes(), input.options()), at::empty({batch, groups}, options),
          at::empty({batch, groups}, options)};
}

std::tuple<Tensor, Tensor> var_mean(const Tensor& input, at::OptionalIntArrayRef dims,
                                    const std::optional<c10::Scalar>&, bool keepdim) {
  std::vector<int64_t> shape;
  for (int64_t i = 0; i < input.dim(); ++i) {
    const bool reduced = !dims || std::find(dims->begin(), dims->end(), i) != dims->end();
    if (!reduced) shape.push_back(input.size(i));
    if (reduced && keepdim) shape.push_back(1);
  }
  return {at::empty(shape, input.options()), at::empty(shape, input.options())};
}

Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t, bool, bool) {
  auto shape = indices.sizes().vec();
  shape.push_back(weight.size(1));
  return at::empty(shape, weight.options());
}

}  // namespace

void register_meta_kernels() {
  static const auto library = [] {
    torch::Library kernels(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
    kernels.impl("convolution", convolution);
    kernels.impl("linear", linear);
    kernels.impl("scaled_dot_product_attention", attention);
    kernels.impl("native_layer_norm", layer_norm);
    kernels.impl("native_group_norm", group_norm);
    kernels.impl("var_mean.correction", var_mean);
    kernels.impl("embedding", embedding);
    static CountingAllocator allocator;
    c10::SetAllocator(c10::DeviceType::Meta, &allocator, /*priority=*/1);
    return kernels;
  }();
}

MeteredLayer::MeteredLayer(const std::string& name) {
  if (!meter.is_on || name.empty()) return;
  name_ = &name;
  before_ = meter.flops;
}

MeteredLayer::~MeteredLayer() {
  if (name_) meter.add_part(*name_, meter.flops - before_);
}

Cost measure_on_meta(const std::function<void()>& compute) {
  register_meta_kernels();
  const c10::InferenceMode no_autograd;
  meter = {.is_on = true};
  try {
    compute();
  } catch (...) {
    meter.is_on = false;
    throw;
  }
  meter.is_on = false;
  return {.peak_bytes = meter.peak_bytes, .flops = meter.flops, .parts = std::exchange(meter.parts, {})};
}

}  // namespace diffract::nn
