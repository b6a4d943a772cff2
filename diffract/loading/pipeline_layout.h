#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/models/forward_cost.h"
#include "diffract/placement/pipeline_map.h"

namespace diffract::loading {

/// What is known of a request before it comes, as far as memory and time depend on it. What is unset is the
/// model's default.
struct LayoutRequest {
  std::optional<int64_t> height, width;  // pixels
  int64_t batch_size = 1;
  std::optional<int64_t> texts = {};   // that an encoder takes at once; unset: one a picture
  std::optional<bool> is_guided = {};  // the denoiser runs for two texts a picture; unset: as is usual
  std::optional<int64_t> num_inference_steps;
  int64_t max_sequence_length = 512;               // tokens of T5
  bool encodes_pictures = false;                   // the VAE makes latents of pictures too
  int64_t prompt_pictures = 1;                     // of an IP-Adapter
  std::optional<at::ScalarType> torch_dtype = {};  // unset: as the weight files have it, or float32 without
  at::ScalarType arithmetic = at::kFloat;
  bool widens_small = false;  // small models are kept in what they compute in (weights::is_widened)
  uint64_t overhead = 0;      // bytes that computing takes beside a model's tensors (DeviceBackend)
  std::string variant = {};   // of the weight files
  std::vector<std::string> without = {};  // components that are not wanted, nor looked for
};

/// `without`, and those components of the folder that the family does not run, or not with `options`.
std::vector<std::string> unused_components(const io::ModelFolder& folder, const FamilyFacts* facts,
                                           const LoadOptions& options, std::vector<std::string> without = {});

/// A pipeline, or one model, as the planner needs it; nothing but its config files is read, and the header of
/// one weight file where there is one.
struct PipelineLayout {
  std::vector<placement::PlannedComponent> components;  // in the order in which they run
  std::vector<models::Cost> costs;                      // of one run of each
  std::vector<bool> is_as_stored;                       // of each: kept in the dtype of its files
  std::vector<int64_t> stored_bytes;                    // of each: its weights in the files
  std::vector<std::string> left_out;                    // components with weights that diffract does not run
  /// FLUX's components come and go with their stage; others stay.
  placement::Lifetime lifetime = placement::Lifetime::whole_job;
  int64_t height = 0, width = 0;  // pixels that the costs are for
};

/// What the folder of a pipeline says of its models, read once and laid out for any number of requests.
/// `facts`: of its family; null where diffract runs none of it.
class PipelineParts {
 public:
  /// Throws CheckpointError for damaged configs and for classes that diffract does not build. `without`:
  /// components that are not looked for.
  PipelineParts(const io::ModelFolder& folder, const FamilyFacts* facts, const std::string& variant,
                const std::vector<std::string>& without);
  /// `request`'s variant and what it is without are those that were given.
  PipelineLayout lay_out(const LayoutRequest& request) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// PipelineParts laid out for one request.
PipelineLayout lay_out_pipeline(const io::ModelFolder& folder, const FamilyFacts* facts,
                                const LayoutRequest& request);

/// One component of a pipeline's folder.
PipelineLayout lay_out_component(const io::ModelFolder& folder, const FamilyFacts* facts,
                                 const std::string& name, const LayoutRequest& request);

/// A single model's folder. Its name in the layout is empty, so that the map names modules as the model does.
/// `facts`: of the family whose denoiser it is; null for another model.
PipelineLayout lay_out_model(const std::filesystem::path& folder, const FamilyFacts* facts,
                             const LayoutRequest& request);

}  // namespace diffract::loading
