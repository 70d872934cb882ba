// Where the fields of each encoding lie. Source: AMD, "RDNA3 Instruction Set Architecture"
// reference guide, chapter 15 "Microcode Formats".
#pragma once

#include <cstdint>

namespace outboard::hardware::amd::rdna3::encoding {

// A field of an instruction of up to 64 bits.
struct Field {
  uint8_t high, low;
  constexpr uint32_t operator()(uint64_t bits) const {
    return static_cast<uint32_t>(bits >> low) & ((uint32_t{1} << (high - low + 1)) - 1);
  }
};

namespace sop1 {
inline constexpr Field kSsrc0{7, 0}, kOp{15, 8}, kSdst{22, 16};
}
namespace sop2 {
inline constexpr Field kSsrc0{7, 0}, kSsrc1{15, 8}, kSdst{22, 16}, kOp{29, 23};
}
namespace sopk {
inline constexpr Field kSimm16{15, 0}, kSdst{22, 16}, kOp{27, 23};
}
namespace sopc {
inline constexpr Field kSsrc0{7, 0}, kSsrc1{15, 8}, kOp{22, 16};
}
namespace sopp {
inline constexpr Field kSimm16{15, 0}, kOp{22, 16};
}
namespace smem {
inline constexpr Field kSbase{5, 0}, kSdata{12, 6}, kDlc{13, 13}, kGlc{14, 14}, kOp{25, 18};
inline constexpr Field kOffset{52, 32}, kSoffset{63, 57};
}  // namespace smem
namespace vop1 {
inline constexpr Field kSrc0{8, 0}, kOp{16, 9}, kVdst{24, 17};
}
namespace vop2 {
inline constexpr Field kSrc0{8, 0}, kVsrc1{16, 9}, kVdst{24, 17}, kOp{30, 25};
}
namespace vopc {
inline constexpr Field kSrc0{8, 0}, kVsrc1{16, 9}, kOp{24, 17};
}
// VOP3, VOP3SD and VOP3P; VINTERP is laid out like VOP3.
namespace vop3 {
inline constexpr Field kVdst{7, 0}, kAbs{10, 8}, kSdst{14, 8}, kOpSel{14, 11}, kClamp{15, 15};
inline constexpr Field kOp{25, 16}, kSrc0{40, 32}, kSrc1{49, 41}, kSrc2{58, 50}, kOmod{60, 59};
inline constexpr Field kNeg{63, 61};
}  // namespace vop3
namespace vop3p {
inline constexpr Field kNegHi{10, 8}, kOpSel{13, 11}, kOpSelHi2{14, 14}, kOp{22, 16};
inline constexpr Field kOpSelHi01{60, 59};
}  // namespace vop3p
namespace vinterp {
inline constexpr Field kWaitExp{10, 8}, kOp{22, 16};
}
namespace vopd {
inline constexpr Field kSrcX0{8, 0}, kVsrcX1{16, 9}, kOpY{21, 17}, kOpX{25, 22};
inline constexpr Field kSrcY0{40, 32}, kVsrcY1{48, 41}, kVdstY{55, 49}, kVdstX{63, 56};
}  // namespace vopd
// The dword that follows src0 = 233, 234 or 250.
namespace dpp {
inline constexpr Field kVsrc0{7, 0}, kControl{16, 8}, kFi{18, 18}, kBoundCtrl{19, 19};
inline constexpr Field kNeg0{20, 20}, kAbs0{21, 21}, kNeg1{22, 22}, kAbs1{23, 23};
inline constexpr Field kBankMask{27, 24}, kRowMask{31, 28}, kLaneSelects{31, 8};
}  // namespace dpp
namespace ldsdir {
inline constexpr Field kVdst{7, 0}, kChannel{9, 8}, kAttribute{15, 10}, kWaitVdst{19, 16};
inline constexpr Field kOp{21, 20};
}  // namespace ldsdir
namespace ds {
inline constexpr Field kOffset0{7, 0}, kOffset1{15, 8}, kGds{17, 17}, kOp{25, 18};
inline constexpr Field kAddr{39, 32}, kData0{47, 40}, kData1{55, 48}, kVdst{63, 56};
}  // namespace ds
// FLAT, GLOBAL, SCRATCH.
namespace flat {
inline constexpr Field kOffset{12, 0}, kDlc{13, 13}, kGlc{14, 14}, kSlc{15, 15}, kSegment{17, 16};
inline constexpr Field kOp{24, 18}, kAddr{39, 32}, kData{47, 40}, kSaddr{54, 48}, kSve{55, 55};
inline constexpr Field kVdst{63, 56};
}  // namespace flat
// MUBUF and MTBUF.
namespace buffer {
inline constexpr Field kOffset{11, 0}, kSlc{12, 12}, kDlc{13, 13}, kGlc{14, 14}, kOp{25, 18};
inline constexpr Field kTypedOp{18, 15}, kFormat{25, 19};
inline constexpr Field kVaddr{39, 32}, kVdata{47, 40}, kSrsrc{52, 48}, kTfe{53, 53};
inline constexpr Field kOffen{54, 54}, kIdxen{55, 55}, kSoffset{63, 56};
}  // namespace buffer
namespace mimg {
inline constexpr Field kNsa{0, 0}, kDim{4, 2}, kUnrm{7, 7}, kDmask{11, 8}, kSlc{12, 12};
inline constexpr Field kDlc{13, 13}, kGlc{14, 14}, kR128{15, 15}, kA16{16, 16}, kD16{17, 17};
inline constexpr Field kOp{25, 18}, kVaddr{39, 32}, kVdata{47, 40}, kSrsrc{52, 48}, kTfe{53, 53};
inline constexpr Field kLwe{54, 54}, kSsamp{62, 58};
}  // namespace mimg
namespace exp {
inline constexpr Field kEn{3, 0}, kTarget{9, 4}, kDone{11, 11}, kRow{13, 13};
inline constexpr Field kVsrc0{39, 32}, kVsrc1{47, 40}, kVsrc2{55, 48}, kVsrc3{63, 56};
}  // namespace exp

}  // namespace outboard::hardware::amd::rdna3::encoding
