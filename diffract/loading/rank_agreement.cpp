#include "diffract/loading/rank_agreement.h"

#include <ATen/ATen.h>

#include <cstring>

#include "diffract/core/error.h"
#include "diffract/distributed/process_group.h"
#include "diffract/distributed/rendezvous.h"
#include "diffract/io/sha256.h"

namespace diffract::loading {

void require_world() {
  if (distributed::is_initialized() && distributed::get_world_size() > 1) return;
  throw UsageError(
      "device_map: divides the model over processes, but this one is alone. Start several with diffract "
      "launch --nproc-per-node 2, and make PartialState (or call init_process_group) before from_pretrained");
}

void require_agreement(const placement::DeviceMap& map) {
  const int world_size = distributed::get_world_size();
  for (const auto place : map.places())
    if (place.index() >= world_size)
      throw UsageError("device_map: names rank {}; the job has {} processes, numbered from 0", place.index(),
                       world_size);
  const std::string text = map.to_text();
  const std::string digest = io::sha256_hex(std::as_bytes(std::span(text)));
  at::Tensor mine = at::empty({static_cast<int64_t>(digest.size())}, at::kByte);
  std::memcpy(mine.data_ptr(), digest.data(), digest.size());
  std::vector<int> others;
  const auto all = distributed::cpu_world().all_gather(mine);
  for (size_t rank = 0; rank < all.size(); ++rank)
    if (!at::equal(all[rank], mine)) others.push_back(static_cast<int>(rank));
  if (!others.empty())
    throw UsageError(
        "device_map: ranks {} have another map than rank {}. Give all ranks the same model and options",
        distributed::list_ranks(others), distributed::get_rank());
}

}  // namespace diffract::loading
