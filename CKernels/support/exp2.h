// What the vector forms of 2^x share: x = n + f with n the nearest integer, so |f| <= 1/2; a polynomial of degree 6 for 2^f; n is
// added to the exponent's bits. The polynomial is 1 at 0 and, in real numbers, within 2^-28 of 2^f, relative, on that range; its
// coefficients were fitted to the least largest relative error. Six multiply-adds near 1 add less than 2 units in the last place.
//
// Results below 2^-126 become 0, x from 128 on infinity, NaN stays NaN.
#pragma once

#define CK_EXP2_LEAST (-126.0f)
#define CK_EXP2_MOST  128.0f

#define CK_EXP2_1 0.6931471824645996f
#define CK_EXP2_2 0.24022647738456726f
#define CK_EXP2_3 0.055503323674201965f
#define CK_EXP2_4 0.00961843691766262f
#define CK_EXP2_5 0.0013398875016719103f
#define CK_EXP2_6 0.00015353361959569156f
