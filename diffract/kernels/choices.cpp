#include "diffract/kernels/choices.h"

#include <fmt/format.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/json.h"
#include "diffract/core/log.h"

namespace diffract::kernels {
namespace fs = std::filesystem;
namespace {

constexpr int kFormat = 1;
constexpr uint64_t kMostBytes = 1 << 20;
constexpr size_t kMostShapes = 4096;

}  // namespace

fs::path cache_folder() {
  const auto absolute = [](const char* name) {
    const char* value = std::getenv(name);
    const fs::path path = value ? value : "";
    return path.is_absolute() ? path : fs::path();
  };
  if (const fs::path cache = absolute("XDG_CACHE_HOME"); !cache.empty()) return cache / "diffract";
  if (const fs::path home = absolute("HOME"); !home.empty()) return home / ".cache/diffract";
  return {};
}

Choices::Choices(fs::path file, int most_offers)
    : file_(std::move(file)), most_offers_(most_offers), places_(read()) {}

std::map<std::string, int> Choices::read() const {
  std::map<std::string, int> places;
  std::error_code ignored;
  if (file_.empty() || !fs::exists(file_, ignored)) return places;
  try {
    const ConfigReader top(load_json(file_, kMostBytes), file_.string());
    if (top.integer("format", 0, 1 << 20) != kFormat || top.integer("offers", 0, 1 << 20) != most_offers_)
      return places;
    const ConfigReader shapes(top.json().at("places"), file_.string());
    if (shapes.json().size() > kMostShapes) return places;
    for (const auto& [shape, place] : shapes.json().items())
      places[shape] = static_cast<int>(shapes.integer(shape.c_str(), kByAten, most_offers_ - 1));
  } catch (const std::exception& error) {
    log::write_once(
        log::Level::warning,
        fmt::format("measured choices are not used, products are measured anew: {}", error.what()));
    places.clear();
  }
  return places;
}

std::optional<int> Choices::find(const std::string& shape) const {
  const auto found = places_.find(shape);
  return found == places_.end() ? std::nullopt : std::optional(found->second);
}

void Choices::keep(const std::string& shape, int place) {
  places_[shape] = place;
  has_news_ = true;
}

void Choices::save() {
  if (!has_news_ || file_.empty()) return;
  has_news_ = false;
  try {
    std::map<std::string, int> all = read();
    for (const auto& [shape, place] : places_) all[shape] = place;
    if (all.size() > kMostShapes) all = places_;
    fs::create_directories(file_.parent_path());
    AtomicFile file(file_);
    file.write(Json{{"format", kFormat}, {"offers", most_offers_}, {"places", all}}.dump(1));
    file.commit();
  } catch (const std::exception&) {
    // A folder that cannot be written: the next process measures again, that is all.
  }
}

}  // namespace diffract::kernels
