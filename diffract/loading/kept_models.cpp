#include "diffract/loading/kept_models.h"

#include <algorithm>

#include "diffract/core/log.h"
#include "diffract/core/size_text.h"
#include "diffract/loading/auto_model.h"
#include "diffract/loading/flush.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::loading {
namespace {

using placement::PlaceBytes;

const ComponentNeed* find(const RequestNeeds& needs, const std::string& name) {
  const auto found =
      std::find_if(needs.begin(), needs.end(), [&](const ComponentNeed& need) { return need.name == name; });
  return found == needs.end() ? nullptr : &*found;
}

constexpr int64_t kMostMore = 8;  // beyond that an estimate is not what is wrong
// So many stages that went well are taken to mean that what was short of memory is over. Not fewer: where the
// estimate itself is wrong, the next picture loads everything anew.
constexpr int kCalmStages = 16;

void add(PlaceBytes& to, const PlaceBytes& bytes) {
  for (const auto& [place, count] : bytes) to[place] += count;
}

// The place where most is lacking, for a message.
std::string lack_text(const PlaceBytes& need, const PlaceBytes& room) {
  std::string text;
  int64_t most = 0;
  for (const auto& [place, bytes] : need) {
    const auto found = room.find(place);
    const int64_t has = found == room.end() ? 0 : found->second;
    if (bytes - has <= most) continue;
    most = bytes - has;
    text = fmt::format("{} on {}, where {} are left", size_text(bytes), place.name(),
                       size_text(std::max<int64_t>(has, 0)));
  }
  return text;
}

void log_device_memory(const std::string& name) {
  if (!log::enabled(log::Level::debug)) return;
  for (auto* backend : tensor::loaded_backends())
    for (int i = 0; i < backend->device_count(); ++i)
      if (backend->peak(i) > 0)  // memory() would wake a device that nobody uses
        log::debug("{}: loaded; {} of {}:{} are in use", name,
                   size_text(static_cast<int64_t>(backend->memory(i).used)), backend->name(), i);
}

void empty_device_caches() {
  for (auto* backend : tensor::loaded_backends()) backend->empty_cache();
}

}  // namespace

std::shared_ptr<const RequestNeeds> KeptModels::needs_of(const RequestShape& shape) const {
  return memory_ ? memory_->needs_of(shape) : nullptr;
}

void KeptModels::require(const RequestShape& shape, const RequestNeeds& needs,
                         const RequestMemory::Which& runs) const {
  if (!memory_) return;
  const std::lock_guard lock(mutex_);
  const auto is_loaded = [&](const ComponentNeed& need) {
    const auto slot = slots_.find(need.name);
    return slot != slots_.end() && slot->second.model != nullptr;
  };
  memory_->require(shape, needs, runs, is_loaded, /*all_stay=*/false);
}

std::vector<const ComponentNeed*> KeptModels::held() const {
  std::vector<const ComponentNeed*> needs;
  for (const auto& [name, slot] : slots_)
    if (slot.model) needs.push_back(&slot.need);
  return needs;
}

KeptModels::Others KeptModels::others_than(const std::string& name) const {
  auto needs = held();
  std::erase_if(needs, [&](const ComponentNeed* need) { return need->name == name; });
  std::stable_sort(needs.begin(), needs.end(), [](const ComponentNeed* a, const ComponentNeed* b) {
    return a->importance < b->importance;
  });
  Others others;
  for (const ComponentNeed* need : needs) {
    others.names.push_back(need->name);
    others.held.push_back(need->use.weights);
    add(others.held.back(), need->recorded());
    add(others.recorded, need->recorded());
  }
  return others;
}

void KeptModels::give_up(const std::string& name, const std::string& reason) {
  Slot& slot = slots_.at(name);
  slot.model.reset();
  slot.gone_for = reason;
  log::debug("{}: its weights go: {}", name, reason);
}

void KeptModels::make_room(const ComponentNeed& need, bool is_loaded) {
  flush_host();  // what one stage kept is of other sizes than what the next needs
  PlaceBytes wanted = is_loaded ? PlaceBytes() : need.use.weights;
  const auto more = more_.find(need.name);
  for (const auto& [place, bytes] : need.use.computing)
    wanted[place] += bytes * (more == more_.end() ? 1 : more->second.times);
  PlaceBytes room = memory_->room_beside(held());
  const Others others = others_than(need.name);
  for (const auto& [place, bytes] : others.recorded) room[place] -= bytes;
  const auto gone = choose_to_free(others.held, wanted, room);
  for (const size_t i : gone)
    give_up(others.names[i], fmt::format("{} takes {}", need.name, lack_text(wanted, room)));
  const bool is_short = std::any_of(wanted.begin(), wanted.end(), [&](const auto& entry) {
    const auto has = room.find(entry.first);
    return entry.first.is_accelerator() && (has == room.end() || 2 * entry.second > has->second);
  });
  if (is_short || !gone.empty()) empty_device_caches();
}

void KeptModels::went_well(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = more_.find(name);
  if (found == more_.end() || ++found->second.went_well < kCalmStages) return;
  found->second = {.times = found->second.times / 2};
  if (found->second.times <= 1) more_.erase(found);
}

bool KeptModels::make_all_room(const std::string& name, const std::string& why) {
  const std::lock_guard lock(mutex_);
  const Others others = others_than(name);
  if (others.names.empty()) return false;
  for (const auto& other : others.names) give_up(other, fmt::format("{} needs its room: {}", name, why));
  auto& more = more_[name];
  more = {.times = std::min(2 * more.times, kMostMore)};
  flush();
  return true;
}

KeptModels::Model KeptModels::begin_stage(const ComponentNeed& need) {
  const std::lock_guard lock(mutex_);
  const auto known = slots_.find(need.name);
  make_room(need, known != slots_.end() && known->second.model);
  Slot& slot = slots_[need.name];
  slot.need = need;
  return slot.model;
}

KeptModels::Model KeptModels::get(const std::string& name, const RequestNeeds* needs,
                                  const std::function<Model()>& load) {
  const ComponentNeed* need = needs ? find(*needs, name) : nullptr;
  if (!need) {
    flush();
    return load();
  }
  const std::lock_guard loads_alone(loading_);
  if (Model model = begin_stage(*need)) return model;
  log::debug("{}: loads its weights", name);
  Model model = load();
  log_device_memory(name);
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_.at(name);
  slot.model = model;
  ++slot.loads;
  return model;
}

void KeptModels::give_back() const {
  if (!memory_) return flush();
  flush_host();
  const std::lock_guard lock(mutex_);
  const bool has_gone = std::any_of(slots_.begin(), slots_.end(),
                                    [](const auto& entry) { return entry.second.model == nullptr; });
  if (has_gone) empty_device_caches();
}

std::vector<ComponentStay> KeptModels::stays() const {
  const std::lock_guard lock(mutex_);
  std::vector<ComponentStay> list;
  for (const auto& [name, slot] : slots_)
    list.push_back({.name = name,
                    .stays = slot.model && slot.loads == 1,
                    .loads = slot.loads,
                    .gone_for = slot.gone_for});
  return list;
}

}  // namespace diffract::loading
