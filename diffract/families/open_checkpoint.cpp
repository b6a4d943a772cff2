#include "diffract/families/open_checkpoint.h"

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/families/registry.h"
#include "diffract/loading/component_files.h"
#include "diffract/loading/single_file.h"

namespace diffract::families {
namespace {

using loading::ModelUse;

const loading::FamilyFacts& facts_of(const io::ModelFolder& folder) {
  const Family* family = find_family(folder.class_name());
  if (!family) throw InternalError("{}: has no family", folder.class_name());  // find_pipeline refuses those
  return *family->facts;
}

std::shared_ptr<const io::SafetensorsFile> open_file(const std::string& model) {
  if (const std::string why = loading::why_not_safetensors(model); !why.empty())
    throw CheckpointError("model {} {}", model, why);
  return io::SafetensorsFile::open(model);
}

// Of the configs and tokenizers that go with a single file: `config`, or that of its kind in the cache.
std::filesystem::path config_folder(const io::SafetensorsFile& file, const std::string& config) {
  if (!config.empty()) return loading::find_pipeline(config, require_family, ModelUse::beside_weights);
  const auto& kind = *require_single_file_kind(file, all_facts()).kind;
  const std::string repository(kind.repository);
  log::info("{}: {}; configs and tokenizers of {}", file.path().filename().string(), kind.name, repository);
  try {
    return loading::find_pipeline(repository, require_family, ModelUse::beside_weights);
  } catch (const CheckpointError& error) {
    throw CheckpointError(
        "{}: is a file of {}. It has no tokenizers and configs; give a folder that has, --config FOLDER, or "
        "fetch {}: {}",
        file.path().string(), kind.name, repository, error.what());
  }
}

io::ModelFolder open_single_file(const std::string& model, const loading::LoadOptions& options) {
  const auto file = open_file(model);
  io::ModelFolder folder = io::ModelFolder::open(config_folder(*file, options.config));
  const auto& facts = facts_of(folder);
  if (const auto found = find_single_file_kind(*file, all_facts()); found && found->family != &facts)
    throw UsageError("config {}: is of {}, and {} is a file of {}; give a folder of that", options.config,
                     facts.models, model, found->kind->name);
  take_components(folder, file, facts);
  const bool has_denoiser = folder.elsewhere(std::string(facts.denoiser)) != nullptr;
  if (!has_denoiser) require_single_file_kind(*file, all_facts());  // which it is not: it says what it is
  give_components(folder, options.components, facts);
  require_components(folder, facts, options.variant);
  return folder;
}

}  // namespace

io::ModelFolder open_checkpoint(const std::string& model, const loading::LoadOptions& options, ModelUse use) {
  if (loading::is_single_file(model)) return open_single_file(model, options);
  if (!options.config.empty())
    throw UsageError("config {}: goes with a model that is a single file; {} is none. Leave --config out",
                     options.config, model);
  auto folder = io::ModelFolder::open(loading::find_pipeline(model, require_family, use));
  give_components(folder, options.components, facts_of(folder));
  return folder;
}

}  // namespace diffract::families
