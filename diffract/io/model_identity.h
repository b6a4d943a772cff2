#pragma once
#include <filesystem>
#include <string>

#include "diffract/io/model_folder.h"

namespace diffract::io {

/// Which model something was made with, as logs, JSON and pictures say it. It tells nothing of where on this
/// machine the model lies.
struct ModelIdentity {
  std::string name;      // ORG/NAME of a snapshot in the Hugging Face cache, else the folder's own name
  std::string revision;  // the snapshot's commit; empty for other folders
  std::string hash;      // where there is no commit: of what the folder holds
};

/// {"name", "revision", "hash"}, those that are known.
Json to_json(const ModelIdentity& identity);

/// Name and revision, from the path of a folder or a single file alone, however it was typed: "model",
/// "model/", "./model".
ModelIdentity identify_model(const std::filesystem::path& model);

/// With the hash, where no commit tells two models of one name apart: 16 hexadecimal digits of the SHA-256
/// over the JSON and vocabulary files and pieces of each weight file that a picture needs. Pieces, as a look
/// at all of tens of gigabytes would take longer than a picture; another model, or one that was trained on,
/// differs in them. Of a single file it is over the file and the configs that go with it.
ModelIdentity identify_checkpoint(const ModelFolder& folder, const std::string& variant);

/// The same of one model's folder: over its config and all of its safetensors files.
ModelIdentity identify_component(const std::filesystem::path& folder);

/// The same of a single weight file, as a LoRA's: its name, or ORG/NAME of the snapshot that it is in.
ModelIdentity identify_file(const std::filesystem::path& file);

}  // namespace diffract::io
