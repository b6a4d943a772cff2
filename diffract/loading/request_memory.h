#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "diffract/loading/memory_check.h"
#include "diffract/loading/pipeline_layout.h"
#include "diffract/loading/placement_plan.h"
#include "diffract/placement/keep.h"

namespace diffract::loading {

/// A request, as far as memory depends on it.
struct RequestShape {
  int64_t height, width;  // pixels
  int64_t images, texts;  // of one call of the denoiser, of an encoder
  bool is_guided;         // the denoiser runs for two texts a picture
  int64_t steps;
  int64_t max_sequence_length = 512;
  bool encodes_pictures = false;
  int64_t prompt_pictures = 1;  // of an IP-Adapter

  friend auto operator<=>(const RequestShape&, const RequestShape&) = default;
};

/// What a component of a pipeline takes for a request.
struct ComponentNeed {
  std::string name;
  placement::ComponentUse use;
  bool is_mapped;  // its weights on the CPU are the mapped files, which the kernel takes back when it must
  int importance;  // the least important is given up first
  int64_t stored_bytes = 0;  // of its weights in their files
  double flops = 0;          // of one run
  bool is_recorded = false;  // its recorded steps keep what computing takes as long as its weights are there
  /// On an accelerator, what the recorded steps keep; the allocator counts it as free.
  placement::PlaceBytes recorded() const;
};
using RequestNeeds = std::vector<ComponentNeed>;

/// What requests take and what there is. Thread-safe.
class RequestMemory {
 public:
  struct Setting {
    PipelineParts parts;
    LayoutRequest base;  // what all requests have in common
    PlacementPlan placements;
    placement::MaxMemory max_memory;     // empty: what is free
    bool keeps_host_budget = false;      // the CPU's is a limit, as the plan kept it
    std::string float8 = {};             // the component whose weights are in float8; empty: none
    std::string recorded = {};           // the component whose steps are recorded; empty: none
    std::set<std::string> changed = {};  // components whose weights are not the files' own: of LoRAs
    MemoryCheck check = {};
  };
  explicit RequestMemory(Setting setting);

  /// In the order in which they run.
  std::shared_ptr<const RequestNeeds> needs_of(const RequestShape& shape) const;

  /// What may be had beside the weights of those that are in memory, less a margin for what no estimate
  /// knows.
  placement::PlaceBytes room_beside(const std::vector<const ComponentNeed*>& held) const;

  /// Which components have their weights in memory, and which run for a request.
  using Which = std::function<bool(const ComponentNeed&)>;
  /// Throws MemoryError when one that runs takes more than there would be after all that may be given up was:
  /// nothing where `all_stay`, else the others' weights. ModelDoesNotFit where its weights alone take more of
  /// the host's memory, of which loading would not tell; an accelerator's allocator does.
  void require(const RequestShape& shape, const RequestNeeds& needs, const Which& runs,
               const Which& is_loaded, bool all_stay) const;

 private:
  struct Limit {
    int64_t bytes;
    std::string text;  // "22.1 GB are free there"
  };
  std::vector<Limit> limits_of(placement::Place place, int64_t can_be_given_up) const;
  uint64_t free_host_bytes() const;
  // What loading a component's weights takes where so much is free, or can be.
  int64_t loading_bytes(const ComponentNeed& need, placement::Place place, int64_t can_be_given_up) const;
  // What libtorch's blocks are kept beyond their use must leave room for what is computed.
  void bound_kept_blocks(const RequestNeeds& needs) const;

  Setting setting_;
  placement::DeviceMap map_;  // of one device where no map was asked for
  mutable std::mutex mutex_;
  mutable std::map<RequestShape, std::shared_ptr<const RequestNeeds>> known_;
};

}  // namespace diffract::loading
