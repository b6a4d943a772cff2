#include "diffract/schedulers/prediction.h"

#include <cmath>

#include "diffract/core/error.h"

namespace diffract::schedulers {

Prediction read_prediction(const ConfigReader& config, const std::vector<std::string>& allowed) {
  const std::string name = config.choice("prediction_type", allowed, "epsilon");
  if (name == "epsilon") return Prediction::epsilon;
  if (name == "v_prediction") return Prediction::v_prediction;
  return Prediction::sample;  // or "original_sample", its old name
}

NoiseLevel NoiseLevel::of_alpha_cumprod(double alpha_cumprod) {
  return {.alpha = std::sqrt(alpha_cumprod), .sigma = std::sqrt(1 - alpha_cumprod)};
}

NoiseLevel NoiseLevel::of_ratio(double sigma_over_alpha) {
  const double alpha = 1 / std::sqrt(sigma_over_alpha * sigma_over_alpha + 1);
  return {.alpha = alpha, .sigma = sigma_over_alpha * alpha};
}

double NoiseLevel::lambda() const { return std::log(alpha) - std::log(sigma); }

Tensor NoiseLevel::mix(const Tensor& picture, const Tensor& noise) const {
  return alpha * picture + sigma * noise;
}

Tensor predicted_picture(Prediction prediction, const Tensor& output, const Tensor& sample,
                         const NoiseLevel& level) {
  switch (prediction) {
    case Prediction::epsilon:
      return (sample - level.sigma * output) / level.alpha;
    case Prediction::sample:
      return output;
    case Prediction::v_prediction:
      return level.alpha * sample - level.sigma * output;
  }
  throw InternalError("unknown prediction type");
}

Tensor predicted_noise(Prediction prediction, const Tensor& output, const Tensor& sample,
                       const NoiseLevel& level) {
  switch (prediction) {
    case Prediction::epsilon:
      return output;
    case Prediction::sample:
      return (sample - level.alpha * output) / level.sigma;
    case Prediction::v_prediction:
      return level.alpha * output + level.sigma * sample;
  }
  throw InternalError("unknown prediction type");
}

Tensor predicted_picture_unscaled(Prediction prediction, const Tensor& output, const Tensor& sample,
                                  double sigma) {
  switch (prediction) {
    case Prediction::epsilon:
      return sample - sigma * output;
    case Prediction::sample:
      return output;
    case Prediction::v_prediction: {
      // In float32, as diffusers: at sigma 4096 (zero terminal SNR) a step cancels all but a few bits.
      const auto s = static_cast<float>(sigma);
      const float scale = s * s + 1.0f;
      return output * (-s / std::sqrt(scale)) + sample / scale;
    }
  }
  throw InternalError("unknown prediction type");
}

void PictureRange::read_clip(const ConfigReader& config, bool fallback) {
  if (config.boolean("clip_sample", fallback)) clip = config.number("clip_sample_range", 0, 1e6, 1.0);
}

void PictureRange::read_threshold(const ConfigReader& config) {
  if (!config.boolean("thresholding", false)) return;
  quantile = config.number("dynamic_thresholding_ratio", 0, 1, 0.995);
  max_value = config.number("sample_max_value", 0, 1e6, 1.0);
}

Tensor PictureRange::apply(const Tensor& picture) const {
  if (quantile) {
    const Tensor flat = picture.flatten(1);  // [B, C * H * W]
    Tensor bound = at::quantile(flat.abs(), *quantile, 1);
    bound = bound.clamp_min(1.0).clamp_max(max_value).unsqueeze(1);
    return (at::minimum(at::maximum(flat, -bound), bound) / bound).view(picture.sizes());
  }
  return clip ? picture.clamp(-*clip, *clip) : picture;
}

}  // namespace diffract::schedulers
