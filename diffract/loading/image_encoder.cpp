#include "diffract/loading/image_encoder.h"

#include "diffract/core/error.h"
#include "diffract/io/hub_cache.h"
#include "diffract/io/model_identity.h"
#include "diffract/loading/addition_files.h"
#include "diffract/loading/ip_adapter.h"
#include "diffract/models/model_class.h"

namespace diffract::loading {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOption = "--ip-adapter-image-encoder";

bool has_config(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored);
}

fs::path find_folder(const std::string& text) {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(text, ignored);
  if (!is_folder && (fs::exists(text, ignored) || !io::is_hub_name(text)))
    throw UsageError("{} {}: expected a folder with config.json, or ORG/NAME", kOption, text);
  const fs::path folder = is_folder ? fs::path(text) : io::find_snapshot(text, io::Wanted::first_look);
  if (!has_config(folder))
    throw CheckpointError("{} {}: has no config.json; expected the folder of a picture encoder", kOption,
                          text);
  return folder;
}

// One for the pipeline, as in diffusers.
std::string named_by(const std::vector<IpAdapterOption>& options) {
  std::string name;
  for (const IpAdapterOption& one : options) {
    if (one.image_encoder.empty() || one.image_encoder == name) continue;
    if (!name.empty())
      throw UsageError("ip_adapter: image_encoder is {} and {}; a pipeline has one for all IP-Adapters", name,
                       one.image_encoder);
    name = one.image_encoder;
  }
  return name;
}

fs::path beside(const std::vector<IpAdapterOption>& options) {
  for (const IpAdapterOption& one : options) {
    const fs::path folder =
        find_addition_file(one.path, "--ip-adapter", kIpAdapterFile).parent_path() / kImageEncoder;
    if (has_config(folder)) return folder;
  }
  return {};
}

// transformers takes it out of a whole CLIP, too.
void set_encoder(io::ModelFolder& folder, const fs::path& path) {
  constexpr const char* kPictureEncoder = "clip_vision_model";  // the "model_type" of its class
  const ConfigReader config = io::load_config(path);
  const bool is_whole = config.has("vision_config");
  folder.set_component(
      kImageEncoder,
      {.class_name = is_whole ? models::class_name_of({Json{{"model_type", kPictureEncoder}}, "config"})
                              : models::class_name_of(config),
       .folder = path});
}

}  // namespace

io::ModelFolder with_ip_adapters(io::ModelFolder folder, const FamilyFacts* facts,
                                 const std::vector<IpAdapterOption>& options) {
  if (options.empty() || !facts) return folder;
  const IpAdapterSet adapters(options, *facts, folder);
  const std::string denoiser(facts->denoiser);
  folder.set_config(denoiser, adapters.grown(folder.config(denoiser)));
  if (const std::string named = named_by(options); !named.empty()) {
    set_encoder(folder, find_folder(named));
  } else if (!folder.has_component(kImageEncoder)) {
    const fs::path found = beside(options);
    if (found.empty())
      throw UsageError(
          "ip_adapter: {} has no {}, and none lies beside {}. Pass the one that the IP-Adapter was trained "
          "with, a CLIP vision model of width {}: {} DIR",
          folder.path().string(), kImageEncoder, options.front().path, adapters.image_embed_dim(0), kOption);
    set_encoder(folder, found);
  }
  return folder;
}

void set_image_encoder(LoadOptions& options, const std::string& folder) {
  if (options.ip_adapter.empty())
    throw UsageError("{}: there is no IP-Adapter that it could be for; give one with --ip-adapter", kOption);
  for (IpAdapterOption& one : options.ip_adapter) one.image_encoder = folder;
}

Json image_encoder_parameters(const std::string& text) {
  return io::to_json(io::identify_component(find_folder(text)));
}

}  // namespace diffract::loading
