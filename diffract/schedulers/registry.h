#pragma once
#include "diffract/schedulers/schedule.h"

namespace diffract::schedulers {

// One maker a class, each in the file of its algorithm.
using MakeSchedule = std::unique_ptr<Schedule>(const ConfigReader& config, const ScheduleRequest& request);

MakeSchedule make_ddim;
MakeSchedule make_ddpm;
MakeSchedule make_deis_multistep;
MakeSchedule make_dpm_solver_multistep;
MakeSchedule make_euler_ancestral_discrete;
MakeSchedule make_euler_discrete;
MakeSchedule make_flow_match_euler_discrete;
MakeSchedule make_heun_discrete;
MakeSchedule make_lms_discrete;
MakeSchedule make_pndm;
MakeSchedule make_unipc_multistep;

}  // namespace diffract::schedulers
