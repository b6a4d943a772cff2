#include "diffract/cli/json_output.h"

#include <fmt/format.h>

#include "diffract/cli/status_line.h"

namespace diffract::cli {
namespace {

bool is_printed = false;

}  // namespace

void print_json(const Json& object, int indent) {
  end_status();
  is_printed = true;
  fmt::print("{}\n", json_text(object, indent));
}

Json describe_error(const jobs::Failure& failure) {
  const ErrorInfo info = error_info(failure.kind);
  return {{"kind", info.name}, {"exit_code", info.exit_code}, {"message", valid_text(failure.message)}};
}

void print_json_error(const jobs::Failure& failure) {
  if (!is_printed) print_json({{"error", describe_error(failure)}}, 2);
}

}  // namespace diffract::cli
