#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>

#include "diffract/core/json.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/io/safetensors.h"
#include "diffract/pipelines/pipeline.h"
#include "tests/support/temp_folder.h"

namespace diffract::test {

/// A folder of tests/data/reference: case.json (what diffusers was asked), expected.safetensors and
/// image_*.png (what it answered).
class ReferenceCase {
 public:
  explicit ReferenceCase(const std::string& name);

  const std::filesystem::path& folder() const { return folder_; }
  /// With the case's "parts" in it, where it has some.
  std::filesystem::path checkpoint() const;
  /// diffusers' nsfw_content_detected; empty where the case says nothing of it.
  std::vector<bool> nsfw_content_detected() const {
    return json_.value("nsfw_content_detected", std::vector<bool>());
  }
  /// The single file that the case is of, or checkpoint().
  std::filesystem::path model() const;
  loading::LoadOptions load_options() const;
  /// Gives a pipeline the case's scheduler.
  void set_scheduler(families::DiffusionPipeline& pipeline) const;
  /// The pipeline with the case's scheduler; `options` instead of load_options().
  families::DiffusionPipeline load(const std::optional<loading::LoadOptions>& options = {}) const;
  pipelines::Request request() const;

  /// How far latents may be from diffusers', of the largest value: 1e-4, or the case's "tolerance" where
  /// diffusers itself differs more between processors (DDIM with trailing spacing: its first step divides by
  /// 0.07).
  double tolerance() const { return json_.value("tolerance", 1e-4); }

  /// Whether its embeddings are those of the whole call; the first cases' are of the prompts alone.
  bool encodes_the_call() const { return json_.value("text", false); }

  bool has(const std::string& tensor) const { return expected_->find(tensor) != nullptr; }
  at::Tensor tensor(const std::string& name) const;
  /// How many latents_000, latents_001, ... there are.
  size_t step_count() const;

 private:
  Json ip_adapters() const;  // a list

  std::filesystem::path folder_;
  std::shared_ptr<const TempFolder> whole_;  // the checkpoint with the case's parts
  Json json_;
  std::shared_ptr<const io::SafetensorsFile> expected_;
};

/// The names of the cases that begin with `prefix`, sorted.
std::vector<std::string> reference_cases(const std::string& prefix);

/// Largest difference of two tensors over the largest value expected; infinite when the shapes differ.
double relative_error(const at::Tensor& found, const at::Tensor& expected);

/// A tensor of a safetensors file.
at::Tensor load_tensor(const io::SafetensorsFile& file, const std::string& name);

}  // namespace diffract::test
