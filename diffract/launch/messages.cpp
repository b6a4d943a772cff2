#include "diffract/launch/messages.h"

#include "diffract/core/error.h"

namespace diffract::launch {
namespace {

constexpr int kVersion = 1;
constexpr int64_t kMostRanks = 1 << 24, kMostNodes = 65536;

}  // namespace

Json simple_message(const char* type, const char* key, const Json& value) {
  return {{"type", type}, {key, value}};
}

Json join_message(const NodeInfo& info, const std::string& run_id) {
  return {{"type", "join"},
          {"diffract", kVersion},
          {"id", run_id},
          {"host", info.host},
          {"address", info.address},
          {"role", info.role},
          {"processes", info.processes},
          {"node_rank", info.node_rank},
          {"port", info.port},
          {"min_nodes", info.min_nodes},
          {"max_nodes", info.max_nodes}};
}

NodeInfo read_join(const Json& message, const std::string& run_id) {
  const ConfigReader read(message, "join");
  read.integer("diffract", kVersion, kVersion);
  if (const std::string id = read.text("id"); id != run_id)
    throw UsageError("host {} belongs to the job --rdzv-id {}, here is {}", read.text("host"), id, run_id);
  return {.host = read.text("host").substr(0, 256),
          .address = read.text("address").substr(0, 256),
          .role = read.text("role").substr(0, 256),
          .processes = static_cast<int>(read.integer("processes", 1, 4096)),
          .node_rank = static_cast<int>(read.integer("node_rank", 0, kMostNodes)),
          .port = static_cast<uint16_t>(read.integer("port", 1, 65535)),
          .min_nodes = static_cast<int>(read.integer("min_nodes", 1, kMostNodes)),
          .max_nodes = static_cast<int>(read.integer("max_nodes", 1, kMostNodes))};
}

Json start_message(const Assignment& a) {
  return {{"type", "start"},
          {"restart_count", a.restart_count},
          {"group_rank", a.group_rank},
          {"group_size", a.group_size},
          {"first_rank", a.first_rank},
          {"world_size", a.world_size},
          {"first_role_rank", a.first_role_rank},
          {"role_world_size", a.role_world_size},
          {"master_addr", a.master_addr},
          {"master_port", a.master_port}};
}

Assignment read_start(const Json& message) {
  const ConfigReader read(message, "start");
  const auto number = [&](const char* key, int64_t low) {
    return static_cast<int>(read.integer(key, low, kMostRanks));
  };
  return {.restart_count = number("restart_count", 0),
          .group_rank = number("group_rank", 0),
          .group_size = number("group_size", 1),
          .first_rank = number("first_rank", 0),
          .world_size = number("world_size", 1),
          .first_role_rank = number("first_role_rank", 0),
          .role_world_size = number("role_world_size", 1),
          .master_addr = read.text("master_addr"),
          .master_port = static_cast<uint16_t>(read.integer("master_port", 1, 65535))};
}

Json end_message(const Outcome& outcome) {
  Json message = {{"type", "end"}, {"exit_code", outcome.exit_code}, {"message", outcome.message}};
  if (outcome.failure) message["failure"] = outcome.failure->to_json();
  return message;
}

Outcome read_end(const Json& message) {
  const ConfigReader read(message, "end");
  Outcome outcome{.exit_code = static_cast<int>(read.integer("exit_code", 0, 255)),
                  .message = read.text("message"),
                  .failure = {}};
  if (read.has("failure")) outcome.failure = WorkerFailure::from_json(message["failure"], "end");
  return outcome;
}

}  // namespace diffract::launch
