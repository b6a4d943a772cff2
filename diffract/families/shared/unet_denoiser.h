#pragma once
#include <memory>
#include <vector>

#include "diffract/families/shared/image_prompt.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/models/controlnet/controlnet_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/pipelines/control.h"
#include "diffract/pipelines/denoise.h"

namespace diffract::families {

using at::Tensor;

/// What a UNet and its ControlNets are told beside latents and time, constant over the steps: a row an image;
/// with guidance twice as many, the negative half first.
struct UNetConditions {
  Tensor text;           // [B, T, D]
  Tensor pooled = {};    // [B, D'], of models with an added embedding
  Tensor time_ids = {};  // [B, N], float32, of the same
  ImagePrompt::Tokens images = {};
};

/// One ControlNet of a walk, and what it is told.
struct WalkControl {
  const models::ControlNetModel* model;
  Tensor hint;   // ControlNetModel::embedded, a row for each that it computes
  Tensor added;  // ControlNetModel::added_embedding, where it has one
  pipelines::ControlStrength strength;
};

/// How the ControlNets of a walk act.
struct ControlSetting {
  std::vector<WalkControl> nets = {};
  bool guess_mode = false;
  /// They see the prompt's half alone: the negative one is not moved.
  bool sees_half = false;
};

/// A walk's steps of a UNet, with what ControlNets add to it.
class UNetDenoiser final : public pipelines::Denoiser {
 public:
  struct Models {
    const models::UNet2DConditionModel& unet;
    kernels::StepGraphs& graphs;  // of both together
  };
  struct Walk {
    size_t begin, end;  // of the schedule's evaluations, as ControlNets count them
    double guidance;    // that the model does itself, where it does
  };
  UNetDenoiser(const Models& models, const UNetConditions& conditions, ControlSetting control,
               const Walk& walk);

  Tensor predict(const Tensor& input, size_t step, double timestep) override;

 private:
  std::vector<Tensor> residuals(const std::vector<Tensor>& in) const;

  Models models_;
  ControlSetting control_;
  Walk walk_;
  Tensor text_, added_;
  ImagePrompt::Tokens images_;
};

/// The ControlNets of a request with the pictures that they follow, made once for all of its steps. `device`:
/// of the latents. `guided`: the denoiser's batches have a negative half.
ControlSetting make_control(const std::vector<std::shared_ptr<const models::ControlNetModel>>& nets,
                            const std::vector<pipelines::ControlPictures>& pictures,
                            const std::vector<pipelines::ControlStrength>& strengths,
                            const UNetConditions& conditions, bool guess_mode, bool guided,
                            at::Device device);

}  // namespace diffract::families
