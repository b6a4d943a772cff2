#include "diffract/io/hub_cache.h"

#include <fmt/ranges.h>
#include <algorithm>

#include <cctype>
#include <cstdlib>
#include <optional>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/user_path.h"
#include "diffract/io/missing_files.h"

namespace diffract::io {
namespace fs = std::filesystem;
namespace {

struct HubName {
  std::string organisation, name, revision = "main";
  std::string repository() const { return organisation + "/" + name; }
};

// The hub's own rule: letters, digits, "-", "_" and ".", not beginning with a dot, no "..". A revision may
// have "/".
bool is_hub_word(const std::string& word, bool slashes) {
  const auto allowed = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ||
           (slashes && c == '/');
  };
  return !word.empty() && word.size() <= 200 && word.front() != '.' && word.front() != '/' &&
         word.back() != '/' && word.find("..") == std::string::npos &&
         std::all_of(word.begin(), word.end(), allowed);
}

std::optional<HubName> parse_name(const std::string& model) {
  HubName parsed;
  const size_t at = model.find('@'), slash = model.find('/');
  const std::string repository = model.substr(0, at);
  if (at != std::string::npos) parsed.revision = model.substr(at + 1);
  if (slash != std::string::npos && slash < repository.size()) {
    parsed.organisation = repository.substr(0, slash);
    parsed.name = repository.substr(slash + 1);
  }
  if (!is_hub_word(parsed.organisation, false) || !is_hub_word(parsed.name, false) ||
      !is_hub_word(parsed.revision, true))
    return {};
  return parsed;
}

HubName require_name(const std::string& model) {
  if (auto name = parse_name(model)) return *name;
  throw CheckpointError(
      "model \"{}\": there is no such folder, and it is not of the form ORG/NAME[@REVISION]", model);
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

fs::path repository_of(const HubName& name, const fs::path& cache) {
  return cache / fmt::format("models--{}--{}", name.organisation, name.name);
}

std::string download_of(const HubName& name, Wanted wanted) {
  const char* filter = wanted == Wanted::configs      ? " --include \"*.json\""
                       : wanted == Wanted::no_weights ? " --include \"*.json\" --include \"*.txt\""
                                                      : "";
  return fmt::format("hf download {} --revision {}{}", name.repository(), name.revision, filter);
}

std::string advice_for(const HubName& name, Wanted wanted) {
  if (wanted == Wanted::first_look)
    return fmt::format(
        "diffract does not download. Its model_index.json, which is small, tells whether diffract runs it: "
        "hf download {} model_index.json --revision {}, then this command again; all of it: {}",
        name.repository(), name.revision, download_of(name, wanted));
  const char* what = wanted == Wanted::configs      ? "a plan needs the JSON files only, "
                     : wanted == Wanted::no_weights ? "configs and vocabularies are enough, "
                                                    : "";
  return fmt::format("diffract does not download; {}run: {}", what, download_of(name, wanted));
}

// Only a snapshot without what every command needs is refused here, but then all that it lacks is named.
std::vector<std::string> files_to_fetch(const fs::path& snapshot, Wanted wanted) {
  if (!is_there(snapshot / "model_index.json")) return {"model_index.json"};
  const ModelFolder model = ModelFolder::open(snapshot);
  auto files = missing_configs(model);
  if (files.empty() || wanted == Wanted::configs) return files;
  for (std::string& file : missing_files(model, "")) {
    const bool is_wanted = wanted != Wanted::no_weights || file.starts_with("tokenizer");
    if (is_wanted && std::find(files.begin(), files.end(), file) == files.end())
      files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

fs::path hub_cache_folder() {
  // As huggingface_hub reads them: what no shell has read (an environment file, a container's) may hold "~"
  // and "$NAME".
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value ? expand_variables(expand_home(value)) : "");
  };
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const fs::path folder = variable(name); !folder.empty()) return folder;
  if (const fs::path home = variable("HF_HOME"); !home.empty()) return home / "hub";
  const fs::path cache = variable("XDG_CACHE_HOME");
  return (cache.empty() ? home_folder() / ".cache" : cache) / "huggingface" / "hub";
}

bool is_hub_name(const std::string& model) { return parse_name(model).has_value(); }

std::string download_command(const std::string& model, Wanted wanted) {
  return download_of(require_name(model), wanted);
}

bool is_in_cache(const std::string& model, const fs::path& cache) {
  return is_folder(repository_of(require_name(model), cache));
}

std::string not_in_cache(const std::string& model, Wanted wanted, const fs::path& cache) {
  const HubName name = require_name(model);
  return fmt::format("model {}: there is no such folder, and it is not in the Hugging Face cache {}. {}",
                     name.repository(), cache.string(), advice_for(name, wanted));
}

fs::path find_snapshot(const std::string& model, Wanted wanted, const fs::path& cache) {
  const HubName name = require_name(model);
  const fs::path repository = repository_of(name, cache);
  if (!is_folder(repository)) throw CheckpointError("{}", not_in_cache(model, wanted, cache));
  const fs::path direct = repository / "snapshots" / name.revision;  // a commit
  if (is_folder(direct)) return direct;
  const fs::path reference = repository / "refs" / name.revision;
  std::error_code ignored;
  if (fs::is_regular_file(reference, ignored)) {
    const std::string commit = trimmed(load_text(reference, 4096));
    if (!is_hub_word(commit, false)) throw CheckpointError("{}: does not hold a commit", reference.string());
    const fs::path snapshot = repository / "snapshots" / commit;
    if (is_folder(snapshot)) return snapshot;
    throw CheckpointError("model {}: {} is missing. {}", name.repository(), snapshot.string(),
                          advice_for(name, wanted));
  }
  throw CheckpointError("model {}: the Hugging Face cache {} has no revision \"{}\" of it. {}",
                        name.repository(), cache.string(), name.revision, advice_for(name, wanted));
}

void require_configs(const fs::path& snapshot, const std::string& model, Wanted wanted) {
  const auto missing = files_to_fetch(snapshot, wanted);
  if (missing.empty()) return;
  const HubName name = require_name(model);
  throw CheckpointError("model {}: its snapshot {} lacks {}. Was the download cut short? Run: {}",
                        name.repository(), snapshot.string(), fmt::join(missing, ", "),
                        download_of(name, wanted));
}

void require_all_files(const ModelFolder& folder, const std::string& variant, const std::string& model) {
  const auto missing = missing_files(folder, variant);
  if (missing.empty()) return;
  std::string advice = "Was the model downloaded whole?";
  if (const auto variants = helpful_variants(folder); variant.empty() && !variants.empty())
    advice = fmt::format("There are files of the variant {}: --variant {}", fmt::join(variants, ", "),
                         fmt::join(variants, ", or --variant "));
  else if (!is_folder(model) && is_hub_name(model))
    advice += " Run: " + download_command(model);
  throw CheckpointError("{}: lacks {}. {}", folder.path().string(), fmt::join(missing, ", "), advice);
}

}  // namespace diffract::io
