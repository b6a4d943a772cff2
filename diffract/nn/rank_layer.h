#pragma once
#include <any>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "diffract/core/trace.h"
#include "diffract/nn/meta_meter.h"
#include "diffract/nn/to_device.h"

namespace diffract::nn {

/// A layer that one process of the job computes. That process has its weights; the others have the layer
/// without weights, and from it the shapes of what it gives.
template <typename T>
class RankLayer {
 public:
  /// `rank_device` says whose it is; that process computes on `device`. `name` stands in traces.
  RankLayer(std::string name, at::Device rank_device, at::Device device)
      : name_(std::move(name)),
        rank_device_(rank_device),
        device_(device),
        is_here_(distributed::is_this_rank(rank_device)) {
    register_meta_kernels();
  }
  bool is_here() const { return is_here_; }

  /// What `layer` makes of the arguments, a value of the layer's rank; they are moved there.
  template <typename... In>
  auto operator()(const T& layer, const In&... in) {
    return apply(layer, to_device(in, rank_device_)...);
  }

 private:
  using Shapes = std::vector<int64_t>;  // of all arguments

  template <typename... In>
  auto apply(const T& layer, const In&... in) {
    using distributed::value_of;
    const auto of_rank = [&](const Tensor& x) { return distributed::rank_tensor(rank_device_, x); };
    if (is_here_) {
      const auto here = [&](const Tensor& x) { return to_device(value_of(x), device_); };
      const trace::Span span("compute", name_);
      return map_tensors(settled(layer(map_tensors(in, here)...)), of_rank);
    }
    Shapes shapes;
    (describe(in, shapes), ...);
    const auto compute = [&] { return layer(map_tensors(in, value_of)...); };
    return map_tensors(remembered<decltype(compute())>(shapes, compute), of_rank);
  }

  // A layer's steps are alike: their shapes are worked out once.
  template <typename Out, typename Compute>
  Out remembered(const Shapes& shapes, const Compute& compute) {
    const std::lock_guard lock(mutex_);
    const auto known = results_.find(shapes);
    if (known != results_.end()) return std::any_cast<Out>(known->second);
    Out out = compute();
    results_.emplace(shapes, out);
    return out;
  }

  static void describe(at::IntArrayRef sizes, Shapes& shapes) {
    shapes.insert(shapes.end(), sizes.begin(), sizes.end());
  }
  static void describe(at::OptionalIntArrayRef sizes, Shapes& shapes) {
    if (sizes) describe(*sizes, shapes);
  }
  template <typename Argument>
  static void describe(const Argument& argument, Shapes& shapes) {
    if constexpr (std::is_arithmetic_v<Argument> || std::is_enum_v<Argument>) {
      shapes.push_back(static_cast<int64_t>(argument));
    } else {
      map_tensors(argument, [&](const Tensor& x) {
        shapes.push_back(static_cast<int64_t>(x.scalar_type()));
        describe(x.sizes(), shapes);
        describe(x.strides(), shapes);
        return x;
      });
      shapes.push_back(-1);  // the end of an argument
    }
  }

  std::string name_;
  at::Device rank_device_, device_;
  bool is_here_;
  std::mutex mutex_;
  std::map<Shapes, std::any> results_;  // on the meta device
};

}  // namespace diffract::nn
