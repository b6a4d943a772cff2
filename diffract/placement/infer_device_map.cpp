#include "diffract/placement/infer_device_map.h"

#include <algorithm>
#include <list>
#include <unordered_set>

#include "diffract/core/error.h"
#include "diffract/core/size_text.h"

namespace diffract::placement {
namespace {

// A module, or a tensor of a module that was split.
struct Item {
  std::string name;
  const Module* module;  // null for a tensor
};
using Items = std::list<Item>;

class Inference {
 public:
  Inference(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options,
            const Reserve& reserve)
      : tree_(tree),
        options_(options),
        reserve_(reserve),
        sizes_(compute_module_sizes(tree, options.size)),
        no_split_(options.no_split_module_classes.begin(), options.no_split_module_classes.end()) {
    for (const auto& [place, bytes] : memory) devices_.push_back({.place = place, .bytes = bytes});
    if (!memory.find(Place::disk())) devices_.push_back({.place = Place::disk()});
  }

  DeviceMap run() {
    todo_ = parts_of({"", &tree_.root});
    find_largest_layer(/*modules_only=*/false);
    while (!todo_.empty()) place_next();
    return clean_device_map(map_);
  }

 private:
  struct Device {
    Place place;
    std::optional<int64_t> bytes = {};  // unset: without end
    int64_t used = 0;
    int64_t working = 0;  // what computing with the modules on it takes
  };

  Device& device() { return devices_[current_]; }
  bool has_accelerator() const { return devices_.front().place.is_accelerator(); }
  // Room for layers that are offloaded, where they are computed or pass through.
  int64_t kept_for_layers(const Device& d) const {
    const bool is_first = d.place == devices_.front().place && !d.place.is_disk();
    const bool passes_through = d.place.is_cpu() && has_accelerator();
    return largest_layer_ * (is_first         ? reserve_.layers_on_main
                             : passes_through ? reserve_.layers_on_cpu
                                              : 0);
  }
  // What computing takes on `d` when module `name` is on it.
  int64_t working_bytes(const Device& d, const std::string& name) const {
    const auto floor = reserve_.at_least.find(d.place);
    const int64_t least = floor == reserve_.at_least.end() ? d.working : std::max(d.working, floor->second);
    const bool computes = d.place.is_accelerator() || (d.place.is_cpu() && !has_accelerator());
    const auto found = reserve_.working.find(name.substr(0, name.find('.')));
    return computes && found != reserve_.working.end() ? std::max(least, found->second) : least;
  }
  bool may_split(const Item& item) const {
    return item.module && !item.module->children.empty() && !no_split_.contains(item.module->class_name);
  }

  // What takes the place of a module that is split: its parameters, children, buffers.
  static Items parts_of(const Item& item) {
    Items parts;
    const auto add_tensors = [&](bool buffers) {
      for (const TensorSize& tensor : item.module->tensors)
        if (tensor.is_buffer == buffers) parts.push_back({join_name(item.name, tensor.name), nullptr});
    };
    add_tensors(false);
    for (const Module& child : item.module->children)
      parts.push_back({join_name(item.name, child.name), &child});
    add_tensors(true);
    return parts;
  }

  void find_largest_layer(bool modules_only) {
    largest_layer_ = 0;
    largest_names_.clear();
    const auto consider = [&](const std::string& name) {
      const int64_t bytes = sizes_[name];
      if (bytes > largest_layer_) {
        largest_layer_ = bytes;
        largest_names_.clear();
      }
      if (bytes == largest_layer_) largest_names_.push_back(name);
    };
    for (const Item& item : todo_) {
      if (item.module)
        for_each_layer(*item.module, item.name, no_split_,
                       [&](const std::string& name, const Module&) { consider(name); });
      else if (!modules_only)
        consider(item.name);
    }
  }

  void forget_layers_below(const std::string& name) {
    std::erase_if(largest_names_, [&](const std::string& layer) { return covers(name, layer); });
    if (largest_names_.empty()) find_largest_layer(/*modules_only=*/true);
  }

  // The items that hold a tensor tied to one in `item`, or to one in those, and so on.
  std::vector<Items::iterator> tied_to(const Item& item) {
    std::vector<Items::iterator> together;
    const auto is_inside = [&](const std::string& tensor) {
      return covers(item.name, tensor) ||
             std::any_of(together.begin(), together.end(),
                         [&](const auto& other) { return covers(other->name, tensor); });
    };
    size_t known = 0;
    do {
      known = together.size();
      for (const auto& group : tree_.tied) {
        if (std::none_of(group.begin(), group.end(), is_inside)) continue;
        for (const std::string& tensor : group) {
          if (is_inside(tensor)) continue;
          const auto holder = std::find_if(todo_.begin(), todo_.end(),
                                           [&](const Item& other) { return covers(other.name, tensor); });
          if (holder != todo_.end()) together.push_back(holder);
        }
      }
    } while (together.size() != known);
    return together;
  }

  // Bytes of the current device that modules may take, with `item` among them.
  int64_t room(const Item& item) {
    return *device().bytes - working_bytes(device(), item.name) - kept_for_layers(device());
  }

  void put(const std::string& name) {
    map_.set(name, device().place);
    device().used += sizes_[name];
    device().working = working_bytes(device(), name);
  }

  void replace(Items::iterator at) {
    Items parts = parts_of(*at);
    todo_.splice(at, parts);
    todo_.erase(at);
    find_largest_layer(/*modules_only=*/true);
  }

  void place_next() {
    const Item item = std::move(todo_.front());
    todo_.pop_front();
    forget_layers_below(item.name);
    const int64_t bytes = sizes_[item.name];
    const auto tied = tied_to(item);
    int64_t bytes_with_tied = bytes;
    for (const auto& other : tied) bytes_with_tied += sizes_[other->name];

    const bool endless = !device().bytes;
    const int64_t free = endless ? 0 : room(item) - device().used;
    if (endless || bytes_with_tied <= free) {
      put(item.name);
      for (const auto& other : tied) {
        put(other->name);
        todo_.erase(other);
      }
      return;
    }
    if (!tied.empty() && bytes <= free && split_one_of(tied)) {
      todo_.push_front(item);
      return;
    }
    if (bytes >= free && may_split(item)) {
      Items parts = parts_of(item);
      todo_.splice(todo_.begin(), parts);
      find_largest_layer(/*modules_only=*/true);
      return;
    }
    todo_.push_front(item);
    if (options_.fallback_allocation && device().used == 0 && bring_forward(bytes_with_tied)) return;
    next_device(item);
  }

  bool split_one_of(const std::vector<Items::iterator>& tied) {
    for (const auto& other : tied) {
      if (!may_split(*other)) continue;
      replace(other);
      return true;
    }
    return false;
  }

  // Moves the first module that fits the current device to the front of the list, before the one there, which
  // does not fit and needs `bytes`.
  bool bring_forward(int64_t bytes) {
    if (!reserve_.cautious_fallback) find_largest_layer(/*modules_only=*/true);  // the first one's among them
    const auto limit_of = [&](const Item& item) {
      if (!reserve_.cautious_fallback) return room(item);
      return room(item) + kept_for_layers(device()) - std::max(largest_layer_, bytes);
    };
    Items search(std::next(todo_.begin()), todo_.end());
    while (!search.empty()) {
      const Item item = search.front();
      search.pop_front();
      int64_t needed = sizes_[item.name];
      bool with_the_first = false;  // tied to what does not fit
      for (const auto& other : tied_to(item)) {
        needed += sizes_[other->name];
        with_the_first = with_the_first || other == todo_.begin();
      }
      if (!with_the_first && needed <= limit_of(item)) {
        take_out(item.name);
        todo_.push_front(item);
        return true;
      }
      if (!may_split(item)) continue;
      Items parts = parts_of(item);
      search.splice(search.begin(), parts);
    }
    return false;
  }

  // Takes `name` out of the list, splitting what it is in.
  void take_out(const std::string& name) {
    while (true) {
      const auto holder =
          std::find_if(todo_.begin(), todo_.end(), [&](const Item& item) { return covers(item.name, name); });
      if (holder->name == name) {
        todo_.erase(holder);
        return;
      }
      Items parts = parts_of(*holder);
      todo_.splice(holder, parts);
      todo_.erase(holder);
    }
  }

  void next_device(const Item& item) {
    if (current_ + 1 == devices_.size())
      throw MemoryError(
          "\"{}\" of {} fits no device any more: {} of {} are placed. Raise the memory budgets "
          "or leave \"disk\" out of them, which is then without limit",
          item.name, size_text(sizes_[item.name]), size_text(placed_bytes()), size_text(sizes_.total()));
    ++current_;
  }

  int64_t placed_bytes() const {
    int64_t bytes = 0;
    for (const Device& d : devices_) bytes += d.used;
    return bytes;
  }

  const ModuleTree& tree_;
  const PlanOptions& options_;
  const Reserve& reserve_;
  const ModuleSizes sizes_;
  const std::unordered_set<std::string> no_split_;
  std::vector<Device> devices_;
  size_t current_ = 0;
  Items todo_;
  int64_t largest_layer_ = 0;
  std::vector<std::string> largest_names_;  // the layers of that size that are still to be placed
  DeviceMap map_;
};

}  // namespace

DeviceMap infer_device_map(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options,
                           const Reserve& reserve) {
  return Inference(tree, memory, options, reserve).run();
}

DeviceMap infer_auto_device_map(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options) {
  return infer_device_map(tree, memory, options,
                          {.layers_on_main = 1, .layers_on_cpu = 1, .cautious_fallback = true});
}

}  // namespace diffract::placement
