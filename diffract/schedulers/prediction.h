#pragma once
#include <ATen/ATen.h>

#include <optional>

#include "diffract/core/json.h"

namespace diffract::schedulers {

using at::Tensor;

/// What the model predicts.
enum class Prediction { epsilon, sample, v_prediction };

/// Reads prediction_type, one of `allowed`.
Prediction read_prediction(const ConfigReader& config, const std::vector<std::string>& allowed);

/// A point on the way from noise to picture: x = alpha * picture + sigma * noise.
struct NoiseLevel {
  double alpha, sigma;

  /// With alpha^2 + sigma^2 = 1, from alpha^2.
  static NoiseLevel of_alpha_cumprod(double alpha_cumprod);
  /// With alpha^2 + sigma^2 = 1, from sigma / alpha.
  static NoiseLevel of_ratio(double sigma_over_alpha);
  /// log(alpha / sigma), the solvers' time.
  double lambda() const;
  /// alpha * picture + sigma * noise.
  Tensor mix(const Tensor& picture, const Tensor& noise) const;
};

/// The picture that a prediction means, given the sample at its level.
Tensor predicted_picture(Prediction prediction, const Tensor& output, const Tensor& sample,
                         const NoiseLevel& level);
/// The noise that a prediction means.
Tensor predicted_noise(Prediction prediction, const Tensor& output, const Tensor& sample,
                       const NoiseLevel& level);
/// The picture for samples that are not scaled by alpha: x = picture + sigma * noise.
Tensor predicted_picture_unscaled(Prediction prediction, const Tensor& output, const Tensor& sample,
                                  double sigma);

/// Keeps a predicted picture in range: by a fixed bound, or by each picture's own quantile.
struct PictureRange {
  std::optional<double> clip;      // to [-clip, clip]
  std::optional<double> quantile;  // dynamic thresholding: Saharia et al. 2022, section 2.3
  double max_value = 1.0;          // of the quantile's bound

  /// Reads clip_sample and clip_sample_range.
  void read_clip(const ConfigReader& config, bool fallback);
  /// Reads thresholding, dynamic_thresholding_ratio and sample_max_value.
  void read_threshold(const ConfigReader& config);
  Tensor apply(const Tensor& picture) const;
};

}  // namespace diffract::schedulers
