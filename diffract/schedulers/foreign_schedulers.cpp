#include "diffract/schedulers/foreign_schedulers.h"

namespace diffract::schedulers {
namespace {

// As diffusers' own table of names says it. What a sampler's name says beside the class are keys of its
// config.
constexpr std::string_view kNotThere = "it is not there yet: see docs/differences.md";
constexpr std::string_view kEuler = "it is EulerDiscreteScheduler here";
constexpr std::string_view kEulerKarras =
    R"(it is EulerDiscreteScheduler here, with the config {"use_karras_sigmas": true})";
constexpr std::string_view kAncestral = "it is EulerAncestralDiscreteScheduler here";
constexpr std::string_view kHeun = "it is HeunDiscreteScheduler here";
constexpr std::string_view kLms = "it is LMSDiscreteScheduler here";
constexpr std::string_view kDdim = "it is DDIMScheduler here";
constexpr std::string_view kPndm = "it is PNDMScheduler here";
constexpr std::string_view kUniPc = "it is UniPCMultistepScheduler here";
constexpr std::string_view kFlowMatch = "it is FlowMatchEulerDiscreteScheduler here";
constexpr std::string_view kKdpm2 = "it is KDPM2DiscreteScheduler here";
constexpr std::string_view kKdpm2Ancestral = "it is KDPM2AncestralDiscreteScheduler here";
constexpr std::string_view kSinglestep = "it is DPMSolverSinglestepScheduler here";
constexpr std::string_view kDpm = "it is DPMSolverMultistepScheduler here";
constexpr std::string_view kDpmKarras =
    R"(it is DPMSolverMultistepScheduler here, with the config {"use_karras_sigmas": true})";
constexpr std::string_view kDpmSde =
    R"(it is DPMSolverMultistepScheduler here, with the config {"algorithm_type": "sde-dpmsolver++"})";
constexpr std::string_view kDpmSdeKarras =
    R"(it is DPMSolverMultistepScheduler here, with the config {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": true})";

constexpr ForeignName kNames[] = {
    {"euler", kEuler},
    {"k-euler", kEuler},
    {"eulerscheduler", kEuler},
    {"eulerdiscrete", kEuler},
    {"euler-discrete", kEuler},
    {"euler-karras", kEulerKarras},
    {"euler-a", kAncestral},
    {"k-euler-a", kAncestral},
    {"k-euler-ancestral", kAncestral},
    {"euler-ancestral", kAncestral},
    {"eulera", kAncestral},
    {"eulerancestral", kAncestral},
    {"eulerancestralscheduler", kAncestral},
    {"eulerancestraldiscrete", kAncestral},
    {"heun", kHeun},
    {"k-heun", kHeun},
    {"heundiscrete", kHeun},
    {"heunscheduler", kHeun},
    {"lms", kLms},
    {"k-lms", kLms},
    {"lms-karras", R"(it is LMSDiscreteScheduler here, with the config {"use_karras_sigmas": true})"},
    {"lmsdiscrete", kLms},
    {"lmsscheduler", kLms},
    {"ddim", kDdim},
    {"pndm", kPndm},
    {"plms", kPndm},
    {"unipc", kUniPc},
    {"uni-pc", kUniPc},
    {"unipc-bh2", kUniPc},
    {"uni-pc-bh2", kUniPc},
    {"unipcmultistep", kUniPc},
    {"unipcscheduler", kUniPc},
    {"flow-match", kFlowMatch},
    {"flowmatch", kFlowMatch},
    {"flow-match-euler", kFlowMatch},
    {"flowmatcheuler", kFlowMatch},
    {"flowmatcheulerdiscrete", kFlowMatch},
    {"flowmatchscheduler", kFlowMatch},
    {"dpm++", kDpm},
    {"dpmpp", kDpm},
    {"dpm++2m", kDpm},
    {"dpm++-2m", kDpm},
    {"dpmpp-2m", kDpm},
    {"dpmpp2m", kDpm},
    {"dpm-solver", kDpm},
    {"dpmsolver", kDpm},
    {"dpm-solver++", kDpm},
    {"dpmsolver++", kDpm},
    {"dpmsolvermultistep", kDpm},
    {"dpm++-2m-karras", kDpmKarras},
    {"dpmpp-2m-karras", kDpmKarras},
    {"dpmpp2mkarras", kDpmKarras},
    {"dpm++-2m-sde", kDpmSde},
    {"dpmpp-2m-sde", kDpmSde},
    {"dpmpp-2m-sde-gpu", kDpmSde},
    {"dpm++-2m-sde-karras", kDpmSdeKarras},
    {"dpmpp-2m-sde-karras", kDpmSdeKarras},
    {"dpm++-sde", kSinglestep},
    {"dpmpp-sde", kSinglestep},
    {"dpm++-sde-karras",
     R"(it is DPMSolverSinglestepScheduler here, with the config {"use_karras_sigmas": true})"},
    {"dpm++-2s-a", kNotThere},
    {"dpm++2s-a", kNotThere},
    {"dpmpp-2s-ancestral", kNotThere},
    {"dpm++-3m-sde", kNotThere},
    {"dpmpp-3m-sde", kNotThere},
    {"dpm2", kKdpm2},
    {"dpm-2", kKdpm2},
    {"dpm2-a", kKdpm2Ancestral},
    {"dpm2-karras", R"(it is KDPM2DiscreteScheduler here, with the config {"use_karras_sigmas": true})"},
    {"dpm-2-ancestral", kKdpm2Ancestral},
    {"dpm-fast", kNotThere},
    {"dpm-adaptive", kNotThere},
    {"ddpm", "it is DDPMScheduler here"},
    {"lcm", "it is LCMScheduler here"},
    {"tcd", "it is TCDScheduler here"},
    {"deis", "it is DEISMultistepScheduler here"},
    {"ipndm", "it is IPNDMScheduler here"},
    {"ipndm-v", kNotThere},
    {"restart", kNotThere},
    {"ddpmwuerstchenscheduler", kNotThere},
    {"ddiminversescheduler", kNotThere},
    {"dpmsolversdescheduler", kNotThere},
    {"dpmsolvermultistepinversescheduler", kNotThere},
    {"cogvideoxddimscheduler", kNotThere},
    {"flowmatchheundiscretescheduler", kNotThere},
    {"flowmatchlcmscheduler", kNotThere},
    {"scmscheduler", kNotThere},
    {"cmstochasticiterativescheduler", kNotThere},
    {"karrasvescheduler", kNotThere},
    {"repaintscheduler", kNotThere},
    {"scoresdevescheduler", kNotThere},
    {"unclipscheduler", kNotThere},
    {"vqdiffusionscheduler", kNotThere},
};

}  // namespace

std::span<const ForeignName> foreign_schedulers() { return kNames; }

}  // namespace diffract::schedulers
