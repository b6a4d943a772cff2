#pragma once
#include <ATen/ATen.h>

namespace diffract::pipelines {

/// The two halves of a batch with guidance, in guide()'s order. Throws UsageError naming negative_`name`
/// where their shapes differ.
at::Tensor negative_and_positive(const at::Tensor& negative, const at::Tensor& positive, const char* name);

/// Classifier-free guidance of a prediction [2B, ...] whose first half is for the negative prompts and whose
/// second half is for the prompts: negative + scale * (positive - negative), [B, ...]. With `rescale` in (0,
/// 1] the result is drawn that far towards the positive prediction's standard deviation. Source: Ho and
/// Salimans 2022; Lin et al. 2024 section 3.4 for the rescaling.
at::Tensor guide(const at::Tensor& prediction, double scale, double rescale);

}  // namespace diffract::pipelines
