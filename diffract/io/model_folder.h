#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/weight_files.h"

namespace diffract::io {

/// A component of a pipeline that does not come from the pipeline's folder.
struct ComponentElsewhere {
  std::string class_name;
  std::filesystem::path folder =
      {};  // of its config, and its weights unless they are given; empty: the pipeline's
  std::optional<WeightFiles> weights = {};
};

/// A checkpoint in the diffusers layout: model_index.json names the pipeline's class and its components, each
/// in a folder of its own. Some may come from elsewhere.
class ModelFolder {
 public:
  /// Reads model_index.json. Throws CheckpointError when the folder or the file is missing or damaged.
  static ModelFolder open(const std::filesystem::path& folder);
  /// The same from the file's text, for a folder that is not looked at.
  static ModelFolder parse(const std::string& model_index, const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  /// What the user named: the single file whose configs path() has, or path().
  const std::filesystem::path& origin() const { return origin_.empty() ? path_ : origin_; }
  bool is_single_file() const { return !origin_.empty(); }
  /// The pipeline's class, e.g. "StableDiffusionPipeline".
  const std::string& class_name() const { return class_name_; }
  /// model_index.json itself, which has settings of the pipeline beside the components.
  ConfigReader index() const { return {index_, (path_ / "model_index.json").string()}; }
  /// The components that are not null, in the order of model_index.json.
  const std::vector<std::string>& component_names() const { return names_; }
  bool has_component(const std::string& name) const { return classes_.count(name) != 0; }
  /// The component's class, e.g. "UNet2DConditionModel"; empty when it is null or not named.
  std::string component_class(const std::string& name) const;

  /// Takes components from a single file, and the rest from this folder.
  void set_origin(const std::filesystem::path& single_file) { origin_ = single_file; }
  /// One more component, or another in place of the folder's own, that lies elsewhere.
  void set_component(const std::string& name, ComponentElsewhere from);
  /// Another config in place of a component's own.
  void set_config(const std::string& name, const ConfigReader& config) {
    configs_.insert_or_assign(name, config);
  }
  /// As if the folder did not name it.
  void leave_out(const std::string& name);
  /// Null for a component that is the folder's own.
  const ComponentElsewhere* elsewhere(const std::string& name) const;

  /// Its own, or that which its config was taken from. Throws CheckpointError when there is no such folder.
  std::filesystem::path component_folder(const std::string& name) const;
  /// The component's config.json, or a scheduler's scheduler_config.json.
  ConfigReader config(const std::string& name) const;
  /// The component's weight files. With a variant, a component that has no files of it gives its plain ones,
  /// as diffusers does, unless no component at all has the variant: that is an error.
  /// They are opened through open_files().
  WeightFiles component_weights(const std::string& name, const std::string& variant) const;
  /// The weight files that are open, shared by this folder's copies.
  OpenFiles& open_files() const { return *open_files_; }

 private:
  std::filesystem::path path_, origin_;
  Json index_;
  std::string class_name_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> classes_;
  std::map<std::string, ComponentElsewhere> elsewhere_;
  std::map<std::string, ConfigReader> configs_;  // set_config's
  std::shared_ptr<OpenFiles> open_files_ = std::make_shared<OpenFiles>();
};

/// config.json of a model's folder. Throws CheckpointError when it is missing or damaged.
ConfigReader load_config(const std::filesystem::path& folder);

}  // namespace diffract::io
