#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::schedulers {

using at::Tensor;

/// Standard normal noise of the latents' shape, each image of the batch from its own generator.
using NoiseSource = std::function<Tensor()>;

/// What a request asks of a scheduler.
struct ScheduleRequest {
  int64_t num_inference_steps = 50;  // 1 to 10,000
  double eta = 0.0;  // DDIM's noise share in [0, 1]; other schedulers ignore it, as in diffusers
  // FlowMatchEulerDiscrete's alone:
  std::vector<float> sigmas;  // set_timesteps' `sigmas`, before shifting; empty: the class's own
  std::optional<double> mu;   // the shift, where the config has use_dynamic_shifting
};

/// One request's walk from noise to image. It belongs to that request alone: multistep methods keep their
/// history here. Calls of step() go through the indices in order, once each, from begin() to the end.
class Schedule {
 public:
  virtual ~Schedule() = default;

  /// What the model is told, one entry an evaluation of the model; a fraction where the method has one.
  const std::vector<double>& timesteps() const { return timesteps_; }
  /// Standard deviation of the noise that the walk begins with.
  virtual double init_noise_sigma() const { return 1.0; }
  /// Evaluations of the model that a step takes: 2 for Heun's method, whose last step has one.
  virtual size_t order() const { return 1; }
  /// The walk begins at evaluation `index` instead of 0, with what add_noise() gives for it; called before
  /// the first step(). Source: diffusers' set_begin_index and the `timesteps` that its pipelines cut.
  void begin_at(size_t index) { begin_ = index; }
  size_t begin() const { return begin_; }
  /// `sample` with as much of `noise` as the sample at evaluation `index` has: the start of a walk that does
  /// not begin with noise alone, and what inpainting keeps after the step before `index`. Of one shape.
  virtual Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const = 0;
  /// The model's input for `sample` at evaluation `index`.
  virtual Tensor scale_model_input(const Tensor& sample, size_t index) const {
    static_cast<void>(index);
    return sample;
  }
  /// The sample after evaluation `index`, given what the model made of it. All float32, of one
  /// shape: [B, C, H, W], or [B, L, C] where latents are packed.
  virtual Tensor step(const Tensor& model_output, size_t index, const Tensor& sample,
                      const NoiseSource& noise) = 0;

 protected:
  std::vector<double> timesteps_;

 private:
  size_t begin_ = 0;
};

/// Builds the schedule of a diffusers scheduler class, e.g. "PNDMScheduler". `config` holds the keys of
/// scheduler_config.json; keys that the class does not know are ignored, as diffusers' from_config does, and
/// missing ones get the class's default. Throws UsageError for an unknown class or request, CheckpointError
/// for a bad config
/// (`source` names it in messages).
std::unique_ptr<Schedule> make_schedule(const std::string& class_name, const Json& config,
                                        const std::string& source, const ScheduleRequest& request);

/// How a sample becomes noise: by adding noise to it, or along a straight line to it.
enum class Path { diffusion, flow };

/// What a pipeline has to know of a scheduler's class.
struct SchedulerTraits {
  Path path = Path::diffusion;
  bool uses_eta = false;       // ScheduleRequest::eta
  bool float32_noise = false;  // diffusers draws its steps' noise in float32, whatever the latents are in
};
/// Null for a class that make_schedule does not know.
const SchedulerTraits* traits_of(const std::string& class_name);
/// The class names that make_schedule knows, in alphabetical order.
const std::vector<std::string>& scheduler_names();

}  // namespace diffract::schedulers
