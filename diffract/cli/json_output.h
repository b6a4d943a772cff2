#pragma once
#include "diffract/core/json.h"
#include "diffract/jobs/job_board.h"

namespace diffract::cli {

/// Prints the one JSON object that a command with --json has on stdout.
void print_json(const Json& object, int indent = -1);
/// {"kind": "usage", "exit_code": 2, "message": "..."}
Json describe_error(const jobs::Failure& failure);
/// Prints {"error": ...} in its place when the command failed before it had printed one.
void print_json_error(const jobs::Failure& failure);

}  // namespace diffract::cli
