#include "diffract/loading/component_files.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffract/core/dashed_option.h"
#include "diffract/core/error.h"
#include "diffract/io/model_identity.h"
#include "diffract/loading/find_model.h"
#include "diffract/loading/single_file.h"

namespace diffract::loading {
namespace fs = std::filesystem;
namespace {

fs::path found_folder(const std::string& path, const std::string& component) {
  const fs::path folder = find_model(path);
  std::error_code ignored;  // of a whole pipeline, its component is meant
  if (fs::exists(folder / "model_index.json", ignored) && !component.empty()) return folder / component;
  return folder;
}

io::ComponentElsewhere in_folder(const fs::path& folder) {
  const ConfigReader config = io::load_config(folder);
  return {.class_name = models::class_name_of(config), .folder = folder};
}

void require_safetensors(const std::string& path) {
  if (const std::string why = why_not_safetensors(path); !why.empty())
    throw CheckpointError("{} {}", path, why);
}

// A file of one model has no prefix before its names, a whole checkpoint has.
io::WeightFiles in_file(const std::string& path, const std::string& name, const std::string& class_name,
                        const ConfigReader& config, const FamilyFacts& facts) {
  require_safetensors(path);
  const auto file = io::SafetensorsFile::open(path);
  if (auto weights = component_in_file(*file, name, class_name, config, facts)) return *std::move(weights);
  const auto* known = models::find_model_class(std::string_view(class_name));
  const auto& tensors = file->tensors();
  const bool is_other_layout = known && !known->original_names &&
                               std::any_of(tensors.begin(), tensors.end(), [](const io::TensorInfo& tensor) {
                                 return tensor.name.find("double_blocks.") != std::string::npos;
                               });
  if (is_other_layout)
    throw CheckpointError(
        "{}: has the names of the model's authors (\"double_blocks.\"), which are not read yet; give a file "
        "with diffusers' names, or a folder",
        path);
  io::WeightFiles weights{.files = {path}, .description = fmt::format("{} in {}", name, path)};
  if (known && known->original_names)
    weights.parts = [names = known->original_names, config](const std::string& tensor) {
      return names(tensor, config);
    };
  return weights;
}

}  // namespace

void give_components(io::ModelFolder& folder, const std::map<std::string, std::string>& components,
                     const FamilyFacts& facts) {
  for (const auto& [name, path] : components) {
    if (!folder.has_component(name))
      throw UsageError("{} {}: {} has no such component; it has {}", dashed_option(name), path,
                       folder.path().string(), fmt::join(folder.component_names(), ", "));
    if (path == "none")
      throw UsageError("{} none: {} runs with all its models", dashed_option(name), facts.class_name);
    if (!is_single_file(path)) {
      folder.set_component(name, in_folder(found_folder(path, name)));
      continue;
    }
    const std::string class_name = folder.component_class(name);
    folder.set_component(name, {.class_name = class_name,
                                .weights = in_file(path, name, class_name, folder.config(name), facts)});
  }
}

Json component_parameters(const std::string& path) {
  if (path.empty() || path == "none") return path;
  if (is_single_file(path)) return io::to_json(io::identify_file(path));
  const fs::path folder = find_model(path);
  std::error_code ignored;
  const bool is_pipeline = fs::exists(folder / "model_index.json", ignored);
  return io::to_json(is_pipeline ? io::identify_checkpoint(io::ModelFolder::open(folder), "")
                                 : io::identify_component(folder));
}

Json config_parameters(const std::string& path) {
  if (path.empty()) return path;
  return io::to_json(io::identify_model(find_model(path, ModelUse::beside_weights)));
}

}  // namespace diffract::loading
