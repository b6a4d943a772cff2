#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/loading/component_stay.h"
#include "diffract/loading/request_memory.h"
#include "diffract/tensor/memory_errors.h"

namespace diffract::loading {

/// The models of a pipeline that works in stages. Each is loaded when its stage begins and stays after it as
/// long as there is room for the stages of the others; then the least needed go first. Thread-safe: threads
/// share what is in memory.
class KeptModels {
 public:
  using Model = std::shared_ptr<const void>;
  /// From now on what there is room for stays; until then, or with null, nothing does beyond its stage.
  void keep_within(std::shared_ptr<const RequestMemory> memory) { memory_ = std::move(memory); }

  /// What the components take for a request of this shape; null where nothing stays.
  std::shared_ptr<const RequestNeeds> needs_of(const RequestShape& shape) const;
  /// Throws MemoryError when the request, of which `runs` says what it runs, takes more than there is.
  void require(const RequestShape& shape, const RequestNeeds& needs, const RequestMemory::Which& runs) const;

  /// The model in memory, or what `load` gives. `needs`: of the request whose stage begins; null: it goes
  /// when its stage ends.
  Model get(const std::string& name, const RequestNeeds* needs, const std::function<Model()>& load);
  /// What stage() gives. What a stage takes is an estimate: when memory runs out in it, the other models go,
  /// the stage begins once more, and for the next requests more is reckoned with for it.
  template <typename Stage>
  auto with_room(const std::string& name, Stage&& stage) {
    try {
      auto made = tensor::with_memory_errors(stage);
      went_well(name);
      return made;
    } catch (const MemoryError& error) {
      if (!make_all_room(name, error.what())) throw;
    }
    return tensor::with_memory_errors(stage);
  }
  /// At a request's end: flush(), but an accelerator's free blocks stay for the next request where all models
  /// do.
  void give_back() const;

  /// What became of each component so far.
  std::vector<ComponentStay> stays() const;

 private:
  struct Slot {
    Model model;
    ComponentNeed need;  // of the last request
    int64_t loads = 0;
    std::string gone_for = {};
  };
  struct Others {
    std::vector<std::string> names;  // the least needed first
    std::vector<placement::PlaceBytes> held;
    placement::PlaceBytes recorded;  // of all, which an accelerator's allocator counts as free
  };
  struct More {
    int64_t times = 1;  // as much as estimated
    int went_well = 0;  // stages since it last changed
  };
  Others others_than(const std::string& name) const;
  void give_up(const std::string& name, const std::string& reason);
  void make_room(const ComponentNeed& need, bool is_loaded);
  // Makes room for a stage; its model where it is in memory.
  Model begin_stage(const ComponentNeed& need);
  void went_well(const std::string& name);
  bool make_all_room(const std::string& name, const std::string& why);
  std::vector<const ComponentNeed*> held() const;

  std::shared_ptr<const RequestMemory> memory_;
  std::mutex loading_;        // one model is loaded at a time; taken before mutex_
  mutable std::mutex mutex_;  // of all below; not held while a model loads, which calls the caller's on_load
  std::map<std::string, Slot> slots_;
  std::map<std::string, More> more_;  // where an estimate was too small
};

}  // namespace diffract::loading
