#include "diffract/loading/controlnet.h"

#include "diffract/core/error.h"
#include "diffract/io/hub_cache.h"
#include "diffract/io/model_identity.h"
#include "diffract/loading/addition_files.h"
#include "diffract/models/model_class.h"

namespace diffract::loading {
namespace fs = std::filesystem;
namespace {

constexpr const char* kComponent = "controlnet";
constexpr size_t kMostNets = 16;

fs::path find_folder(const std::string& option) {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(option, ignored);
  if (!is_folder && fs::exists(option, ignored))
    throw CheckpointError(
        "--controlnet {}: is a file; expected a ControlNet's folder in the diffusers layout, with "
        "config.json",
        option);
  if (!is_folder && !io::is_hub_name(option))
    throw UsageError(
        "--controlnet {}: there is no such folder, and it is not of the form ORG/NAME[@REVISION]", option);
  const fs::path folder = is_folder ? fs::path(option) : io::find_snapshot(option);
  if (fs::exists(folder / "config.json", ignored)) return folder;
  throw CheckpointError("--controlnet {}: {}", option,
                        fs::exists(folder / "model_index.json", ignored)
                            ? "is a pipeline's folder; expected a ControlNet's own, with config.json"
                            : "has no config.json; expected a ControlNet's folder in the diffusers layout");
}

}  // namespace

std::string controlnet_name(size_t i) {
  return i == 0 ? std::string(kComponent) : fmt::format("{}_{}", kComponent, i);
}

io::ModelFolder with_controlnets(io::ModelFolder folder, const FamilyFacts* facts,
                                 const std::vector<std::string>& options) {
  const std::string_view wanted = facts ? facts->controlnet_class : std::string_view();
  if (!options.empty() && wanted.empty())
    throw UsageError("controlnet: {} takes none yet; leave --controlnet out", folder.class_name());
  if (options.size() > kMostNets)
    throw UsageError("controlnet: {} given; expected at most {}", options.size(), kMostNets);
  for (size_t i = 0; i < options.size(); ++i) {
    const fs::path path = find_folder(options[i]);
    const std::string found = models::class_name_of(io::load_config(path));
    if (found != wanted)
      throw CheckpointError(
          "--controlnet {}: is a {}; expected a {}, as {} takes it. Give one that was made for this model",
          options[i], found, wanted, facts->models);
    folder.set_component(controlnet_name(i), {.class_name = found, .folder = path});
  }
  return folder;
}

std::vector<std::string> controlnet_names(const io::ModelFolder& folder) {
  std::vector<std::string> names;
  while (folder.has_component(controlnet_name(names.size()))) names.push_back(controlnet_name(names.size()));
  return names;
}

Json controlnet_parameters(const std::string& lines) {
  Json all = Json::array();
  for (const std::string& line : lines_of(lines))
    all.push_back(io::to_json(io::identify_component(find_folder(line))));
  return all;
}

}  // namespace diffract::loading
