#pragma once
#include <functional>
#include <optional>
#include <type_traits>

#include "diffract/core/trace.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::nn {

using at::Tensor;

/// The argument of a layer on the layer's device: tensors move, numbers stay. A struct of tensors has its own
/// overload beside its definition.
inline Tensor to_device(const Tensor& x, at::Device device) {
  const bool moves = x.defined() && x.device() != device && !x.is_meta();  // meta: only shapes are asked for
  return moves ? x.to(device) : x;
}
template <typename Number>
requires std::is_arithmetic_v<Number> || std::is_enum_v<Number> Number to_device(Number number, at::Device) {
  return number;
}
inline at::OptionalIntArrayRef to_device(at::OptionalIntArrayRef sizes, at::Device) { return sizes; }

/// `x` where `other` is, for sums of what different layers gave.
inline Tensor beside(const Tensor& other, const Tensor& x) { return to_device(x, other.device()); }

enum class Unit { module, block };

/// A layer or block that computes as a whole, on the device that the model's device map gives it: it moves
/// its arguments there. Where its weights are kept elsewhere (CPU memory, disk), a call builds it from the
/// weights that the WeightStream has brought, and drops it after.
template <typename T>
class Placed {
 public:
  /// `T(w, args...)`, placed.
  template <typename... Args>
  explicit Placed(const weights::WeightScope& w, const Args&... args) : Placed(Unit::module, w, args...) {}
  template <typename... Args>
  Placed(Unit unit, const weights::WeightScope& w, const Args&... args) : device_(w.placed_device()) {
    if (!w.is_placed()) name_ = w.module_name();
    if (w.is_placed() || w.is_on_one_device()) {  // below another Placed, or nothing to decide
      layer_.emplace(w.is_placed() ? w : w.on(device_), args...);
      return;
    }
    weights::Part part;
    static_cast<void>(T(w.recording(part), args...));
    const weights::Residence residence = w.residence(part, unit == Unit::block);
    device_ = residence.device;
    if (residence.source == weights::Source::device) {
      layer_.emplace(w.on(device_), args...);
      return;
    }
    part.source = residence.source;
    stream_ = w.stream();
    part_ = stream_->add(std::move(part));
    build_ = [=](const weights::LoadedTensors& loaded) { return T(w.from(loaded), args...); };
  }

  template <typename... In>
  auto operator()(const In&... in) const {
    if (layer_) {
      const trace::Span span("compute", name_, device_name());
      return (*layer_)(to_device(in, device_)...);
    }
    const auto lease = stream_->enter(part_);
    const T layer = build_(lease.tensors());
    const trace::Span span("compute", name_, device_name());
    return layer(to_device(in, device_)...);
  }

  at::Device device() const { return device_; }

 private:
  std::string device_name() const { return trace::is_on() ? device_.str() : std::string(); }

  at::Device device_;
  std::string name_;        // in a trace; empty below another Placed
  std::optional<T> layer_;  // none: its weights are kept elsewhere
  std::shared_ptr<weights::WeightStream> stream_;
  size_t part_ = 0;
  std::function<T(const weights::LoadedTensors&)> build_;
};

}  // namespace diffract::nn
