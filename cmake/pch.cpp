// The one source of diffract_pch: the header in pch.h is what it is for.
