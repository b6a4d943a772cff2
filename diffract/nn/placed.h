#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "diffract/core/trace.h"
#include "diffract/nn/meta_meter.h"
#include "diffract/nn/rank_layer.h"
#include "diffract/nn/to_device.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::nn {

/// once_for_many_steps: a block's part that is used once for several steps; it is not itself a layer of the
/// model.
enum class Unit { module, block, once_for_many_steps };

/// A layer or block that computes as a whole, on the device that the model's device map gives it: it moves
/// its arguments there. Where its weights are kept elsewhere (CPU memory, disk), a call builds it from the
/// weights that the WeightStream has brought, and drops it after. Where another process of the job computes
/// it, a call gives a value of that process (RankLayer).
template <typename T>
class Placed {
 public:
  /// `T(w, args...)`, placed.
  template <typename... Args>
  explicit Placed(const weights::WeightScope& w, const Args&... args) : Placed(Unit::module, w, args...) {}
  template <typename... Args>
  Placed(Unit unit, const weights::WeightScope& w, const Args&... args) : device_(w.placed_device()) {
    if (!w.is_placed())
      name_ =
          unit == Unit::once_for_many_steps ? w.module_name() + " (once for many steps)" : w.module_name();
    if (unit != Unit::once_for_many_steps) layer_name_ = name_;
    if (w.is_placed() || w.is_on_one_device()) {  // below another Placed, or nothing to decide
      layer_.emplace(w.is_placed() ? w : w.on(device_), args...);
      return;
    }
    weights::Part part;
    static_cast<void>(T(w.recording(part), args...));
    part.name = name_;
    const weights::Location location = w.location(part, unit != Unit::module);
    device_ = location.device;
    if (distributed::is_rank_device(device_)) {
      on_rank_ = std::make_shared<RankLayer<T>>(name_, device_, w.device());
      layer_.emplace(on_rank_->is_here() ? w.on(w.device()) : w.shapes(), args...);
      return;
    }
    if (location.source == weights::Source::device) {
      layer_.emplace(w.on(device_), args...);
      return;
    }
    part.source = location.source;
    part.is_once_for_many_steps = unit == Unit::once_for_many_steps;
    stream_ = w.stream();
    part_ = stream_->add(std::move(part));
    build_ = [=](const weights::LoadedTensors& loaded) { return T(w.from(loaded), args...); };
  }

  template <typename... In>
  auto operator()(const In&... in) const {
    if (layer_) {
      const MeteredLayer metered(layer_name_);
      if (on_rank_) return (*on_rank_)(*layer_, in...);
      const trace::Span span("compute", name_, device_name());
      return (*layer_)(to_device(in, device_)...);
    }
    const auto lease = stream_->enter(part_);
    const T layer = build_(lease.tensors());
    const trace::Span span("compute", name_, device_name());
    return layer(to_device(in, device_)...);
  }

  at::Device device() const { return device_; }
  /// The layer where it stays and this process computes it; null otherwise.
  const T* resident() const { return layer_ && !on_rank_ ? &*layer_ : nullptr; }

 private:
  std::string device_name() const { return trace::is_on() ? device_.str() : std::string(); }

  at::Device device_;
  std::string name_, layer_name_;          // in a trace; as a layer of the model; empty below another Placed
  std::optional<T> layer_;                 // none: its weights are kept elsewhere
  std::shared_ptr<RankLayer<T>> on_rank_;  // where a process of the job computes it
  std::shared_ptr<weights::WeightStream> stream_;
  size_t part_ = 0;
  std::function<T(const weights::LoadedTensors&)> build_;
};

}  // namespace diffract::nn
