#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace diffract::schedulers {

/// Adams and Bashforth's rule of order 1 to 4 over evenly spaced values.
class LinearMultistep {
 public:
  static constexpr size_t kMost = 4;

  /// Keeps `value`, and gives the mean that a step from here takes.
  at::Tensor extrapolate(const at::Tensor& value) {
    add(value);
    return extrapolate();
  }
  void add(const at::Tensor& value) {
    if (values_.size() == kMost) values_.erase(values_.begin());
    values_.push_back(value);
  }
  const at::Tensor& newest() const { return values_.back(); }

 private:
  at::Tensor extrapolate() const {
    const auto e = [&](size_t back) -> const at::Tensor& { return values_[values_.size() - back]; };
    switch (values_.size()) {
      case 1:
        return e(1);
      case 2:
        return (3 * e(1) - e(2)) / 2;
      case 3:
        return (23 * e(1) - 16 * e(2) + 5 * e(3)) / 12;
      default:
        return (55 * e(1) - 59 * e(2) + 37 * e(3) - 9 * e(4)) / 24;
    }
  }

  std::vector<at::Tensor> values_;  // the newest at the end
};

}  // namespace diffract::schedulers
