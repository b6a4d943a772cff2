#pragma once
#include <cstdint>
#include <string>

namespace diffract::launch {

/// What one node's processes are in one start of the job.
struct Assignment {
  int restart_count = 0;
  int group_rank = 0, group_size = 1;            // of the node among the nodes
  int first_rank = 0, world_size = 1;            // of its processes among all
  int first_role_rank = 0, role_world_size = 1;  // the same among those of its role
  std::string master_addr = "127.0.0.1";
  uint16_t master_port = 0;
};

}  // namespace diffract::launch
