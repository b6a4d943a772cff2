#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/models/ip_adapter/image_projection.h"
#include "diffract/weights/checkpoint.h"

namespace diffract::loading {

/// The IP-Adapters that a pipeline is loaded with: their tensors as the denoiser asks for them. Source:
/// diffusers loaders/ip_adapter.py, loaders/unet.py.
class IpAdapterSet {
 public:
  IpAdapterSet() = default;
  /// Opens the files and compares all that they hold with the folder's denoiser. Throws CheckpointError
  /// naming the first tensor that does not fit, or is missing; UsageError for a family that takes none.
  IpAdapterSet(const std::vector<IpAdapterOption>& options, const FamilyFacts& facts,
               const io::ModelFolder& folder);

  bool empty() const { return adapters_.empty(); }
  /// The width of what an adapter takes of a picture encoder.
  int64_t image_embed_dim(size_t adapter) const { return adapters_.at(adapter).projection.image_embed_dim; }
  /// A denoiser's weights with those of the adapters, under the names that its module tree has for them.
  static weights::TensorSourcePtr over(weights::TensorSourcePtr source,
                                       const std::shared_ptr<const IpAdapterSet>& adapters);
  /// The denoiser's config with the adapters in it.
  ConfigReader grown(const ConfigReader& denoiser) const;

 private:
  class Source;
  void require_fit(const ConfigReader& grown) const;

  struct Adapter {
    std::string file;
    std::shared_ptr<const weights::Checkpoint> tensors;
    models::ImageProjectionConfig projection;
  };
  std::vector<Adapter> adapters_;
  std::vector<std::string> attentions_;  // to the text, in the order of the files' numbers
};

/// What an adapter's file is, for `diffract info`; none for another file.
std::optional<Json> describe_ip_adapter(const std::filesystem::path& file);

}  // namespace diffract::loading
