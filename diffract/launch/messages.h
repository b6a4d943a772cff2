#pragma once
#include "diffract/core/json.h"
#include "diffract/launch/coordinator.h"

namespace diffract::launch {

// What agents say to each other; "type" tells which. Reading throws CheckpointError naming the field that is
// wrong.

Json join_message(const NodeInfo& info, const std::string& run_id);
/// `run_id` must be that of the message.
NodeInfo read_join(const Json& message, const std::string& run_id);

Json start_message(const Assignment& assignment);
Assignment read_start(const Json& message);

Json end_message(const Outcome& outcome);
Outcome read_end(const Json& message);

/// A message of one number or text.
Json simple_message(const char* type, const char* key, const Json& value);

}  // namespace diffract::launch
