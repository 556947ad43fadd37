"""Published means: what pictures have in common, which says nothing of how different those of a corpus are."""

import base64

import numpy as np
import numpy.typing as npt

from sensorium.perception.descriptor import BY

_OF_PICTURES = (
    "ww-sJg`kh2kDziL0VZ)L<0l^{H78;v<PtoZB%&px!=n<S&Yz#4YM#yz9VNpa+a5RufgmXwXCOwI9~~c|-=f%|(xCUEcb^{$i6qS>$0cYb*CiGm"
    "JP~Z2IGJdmP@=-2RiGuJU6?T#HXX|yzaJzXLLkT!Se~|k-kfNlqoMYo*qxQ0R+s%0%@~Xt{}{X)Mjxsi{TAvKyPSESAD)7mjF>)`xD~M%)fpNc"
    "qZ@A>qZ`;A+Z?eLG@RF<X`YG~92lY*0wIkdXdkd4=pm~hF&~Q_V;;91v>HUAU8Oyw%%S|BT8NDtN+4z;h#}e`Kp$fqbsi8Q`WSSe#-%HxM4^MA"
    "2c3+a1sIwiq9LUr2p&Kk7#jj1eI2!$`=wu_5TRh8Vw#hg&x|adNFFOBwj*&PJ|4>*Lmg=d?xdHY!k~?!`k9}Xh?I_+d7#=DlOoe3>LYm}^BpD?"
    "grt3<@}pj%JenGw&z%^M$)J^<pAIG=NF{(K$|7})d8AgQy`hPnXrSeu&Y5(GUYxX{^%Ghm;vv@~`Xt;T{-hA2KAsw!?VsSCo1I~po0XEFx}Dx1"
    "c_UXNpdXVOpQH+)iX6tBlbw;AxSRBwaGDXCOq)NKiXliJuogI(6r-J>(4bbJPMl_!eGxH~gOUClp%#Ro{F;>&w3(uz4x#-bsFRtc3Z#6YaU$NL"
    "w<tcLh@QTv{iSN59V&zy$ESd!f+)PCJ1U4M&@92Cjv>n+TP%Vet|qM_p(|RUw5X&T9wI8JDW}DyPANx~Or&%bXD5lNB&e65=_&uDk)&dtbt(Cu"
    "<CSita4E*1@FdHD3oSn<3MmN{B`anmilj6o*QbZ8iK)e;hZWPNFsOQ_d7#RsZK*@3Stre=M-gBmhbTrM$RNcWn=D=>cOHDC6)iy~UmaGYl`7Vo"
    "*rdiK=N$*EX{g^F7@v=&`KBY47N;_*tEeWa`lQ0C(4g&zM4`r-f|#%$M<bpZ9H}Op&m!5N0io9=M=WWn!5%A}Ca6lMB&1fHJ{<5OEh=*?h9u4;"
    "i6x;WB_+}%m?pO;u9tP7lcN-+bEZS56Q~=g#-}`|aHA&}p(H^l<QP|`x~bl&E~pEr|E2t(<|iE}s3kimJSoH|Tqq(a94g-@ZXrM%rwGNL9;8gA"
    "aHSijb)~YT_M9>xFD7Cs4X3cB=cs$BL8*?Ym#5ODjH93@AsoCRG$m9gbtoe#mnmT|gDAlzFCa^s3#6f@8>sE5v#A5B)2SP&Zl_nINv2q(tEd5~"
    "UZ_o{9Htkfb)iKkwidS^^dq|@ZzWVFx+V`Uf+Y_moFMQNGM`wYN~6-GJEh{JjgDC*<S270"
)
"""Of descriptors brought to length 1: of a street from a fixed camera (vtest.avi, one a second), of a flight in a hall
(EuRoC, both cameras), of walks in `sim-planar` (seeds 0 to 2), a third each; float16 in base 85."""


def published_mean(by: str) -> npt.NDArray[np.float64] | None:
    """The mean of what this maker says of pictures, float64 [d]; None where none is published.

    It is part of the maker's version: another mean would make other numbers of the same corpus.

    >>> published_mean("sensorium-picture/1").shape, published_mean("another")
    ((512,), None)
    """
    if by != BY:
        return None
    return np.frombuffer(base64.b85decode(_OF_PICTURES), "<f2").astype(np.float64)
