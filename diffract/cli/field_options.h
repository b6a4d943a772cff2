#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "diffract/cli/arguments.h"
#include "diffract/loading/load_fields.h"
#include "diffract/pipelines/request_fields.h"

namespace diffract::cli {

/// "-H,--height", "--num-inference-steps,--steps": as CLI11 takes them.
std::string names_of(const pipelines::RequestField& field);

/// Declares a field of a request as an option that sets it. A seed is add_seed's, since it may be drawn.
CLI::Option* add_field(CLI::App& app, const pipelines::RequestField& field, pipelines::Request& request);

/// Declares a field of the loading as an option; what is given is kept as text. `help` instead of the field's
/// own, where a command has more to say.
CLI::Option* add_field(CLI::App& app, const loading::LoadField& field, loading::LoadTexts& given,
                       const std::string& help = "");

}  // namespace diffract::cli
