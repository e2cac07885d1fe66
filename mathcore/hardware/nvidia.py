"""NVIDIA accelerators, one row each; `hardware` says what the columns are."""

# Dense fp16 of GeForce cards is the rate with fp32 accumulation, half that of the full chip: twice
# the shader rate since Ampere, four times on Turing. Cards without tensor cores: the shader rate.
ROWS = """
GTX 1050 Ti|gddr|pascal|4|112|2.1|2.1||||75||spec
GTX 1060|gddr|pascal|3,6|192|4.4|4.4||||120||spec
GTX 1070|gddr|pascal|8|256|6.5|6.5||||150||wiki,spec
GTX 1070 Ti|gddr|pascal|8|256|8.2|8.2||||180||spec
GTX 1080|gddr|pascal|8|320|8.9|8.9||||180||spec
GTX 1080 Ti|gddr|pascal|11|484|11.3|11.3||||250||wiki,spec
Tesla P4|gddr|pascal|8|192|5.5|5.5|||22|75||spec
Tesla P40|gddr|pascal|24|346|11.8|11.8|||47|250||spec
Tesla P100|hbm|pascal|16|732|9.5|19||||250||spec
GTX 1650|gddr|turing|4|128|3.0|6.0||||75||llmfit,wiki,spec
GTX 1650 SUPER|gddr|turing|4|192|4.4|8.8||||100||spec
GTX 1660|gddr|turing|6|192|5.0|10||||120||spec
GTX 1660 SUPER|gddr|turing|6|336|5.0|10||||125||llmfit,wiki,spec
GTX 1660 Ti|gddr|turing|6|288|5.4|10.9||||120||llmfit,wiki,spec
RTX 2060|gddr|turing|6|336|6.5|25.8|||103|160||llmfit,wiki,spec
RTX 2060 SUPER|gddr|turing|8|448|7.2|28.7|||115|175||llmfit,wiki,spec
RTX 2070|gddr|turing|8|448|7.5|29.9|||119|175||llmfit,wiki,spec
RTX 2070 SUPER|gddr|turing|8|448|9.1|36.3|||145|215||llmfit,wiki,spec
RTX 2080|gddr|turing|8|448|10.1|40.3|||161|215||llmfit,wiki,spec
RTX 2080 SUPER|gddr|turing|8|496|11.2|44.6|||178|250||llmfit,wiki,spec
RTX 2080 Ti|gddr|turing|11|616|13.4|53.8|||215|250||llmfit,wiki,spec
TITAN RTX|gddr|turing|24|672|16.3|130.5|||261|280||spec
Quadro RTX 4000|gddr|turing|8|416|7.1|57|||114|160||spec
Quadro RTX 5000|gddr|turing|16|448|11.2|89.2|||178|230||spec
Quadro RTX 6000|gddr|turing|24|672|16.3|130.5|||261|260||spec
Quadro RTX 8000|gddr|turing|48|672|16.3|130.5|||261|260||spec
T4|gddr|turing|16|320|8.1|65.13|||130|70||llmfit,hf,spec
TITAN V|hbm|volta|12|652.8|14.9|119||||250||spec
V100|hbm|volta|16,32|900|14|112||||250|16|la
V100 SXM|hbm|volta|16,32|900|15.7|125||||300|150|la
RTX 3050|gddr|ampere|8|224|9.1|18.2|||73|130||spec
RTX 3050 6GB|gddr|ampere|6|168|6.8|13.5|||54|70||wiki,spec
RTX 3060|gddr|ampere|12|360|12.74|25.5|||102|170||llmfit,hf,wiki
RTX 3060 8GB|gddr|ampere|8|240|12.74|25.5|||102|170||spec
RTX 3060 Ti|gddr|ampere|8|448|16.2|32.4|||130|200||llmfit,hf,wiki
RTX 3070|gddr|ampere|8|448|20.31|40.6|||162|220||llmfit,hf,wiki
RTX 3070 Ti|gddr|ampere|8|608|21.75|43.5|||174|290||llmfit,hf,wiki
RTX 3080|gddr|ampere|10|760|29.8|59.5|||238|320||llmfit,wiki,spec
RTX 3080 12GB|gddr|ampere|12|912|30.6|61.3|||245|350||hf,spec
RTX 3080 Ti|gddr|ampere|12|912|34.1|68.2|||273|350||llmfit,hf,wiki
RTX 3090|gddr|ampere|24|936|35.58|71.2|||285|350||llmfit,hf,wiki
RTX 3090 Ti|gddr|ampere|24|1008|40|80|||320|450||llmfit,hf,wiki
RTX A400|gddr|ampere|4|96|2.7|10.8|||22|50||spec
RTX A1000|gddr|ampere|8|192|6.7|26.8|||54|50||spec
RTX A2000|gddr|ampere|6,12|288|8.0|31.9|||64|70||spec
RTX A4000|gddr|ampere|16|448|19.2|76.7|||153|140||llmfit,wiki,spec
RTX A4500|gddr|ampere|20|640|23.7|94.6|||189|200||spec
RTX A5000|gddr|ampere|24|768|27.8|111.1|||222|230||llmfit,wiki,spec
RTX A5500|gddr|ampere|24|768|34.1|136.4|||273|230||spec
RTX A6000|gddr|ampere|48|768|38.7|154.8|||309.6|300|56.25|la,lv,wiki,apron
A2|gddr|ampere|16|200|4.5|18|||36|60||spec
A10|gddr|ampere|24|600|31.24|125|||250|150|32|la,hf
A10G|gddr|ampere|24|600|31.5|70|||140|150|32|la
A16|gddr|ampere|16|200|4.5|18|||36|63||spec, one of its four chips
A40|gddr|ampere|48|696|37.4|149.7|||299.3|300||lv,spec
A30|hbm|ampere|24|933|10.3|165|||330|165|32|aic
A100 40GB|hbm|ampere|40|1555|19.5|312|||624|400|300|la
A100 PCIe 40GB|hbm|ampere|40|1555|19.5|312|||624|250|300|la
A100 SXM 40GB|hbm|ampere|40|1555|19.5|312|||624|400|300|la
A100 80GB|hbm|ampere|80|1935|19.5|312|||624|300|32|aic,apron
A100 PCIe 80GB|hbm|ampere|80|1935|19.5|312|||624|300|32|aic,apron
A100 SXM 80GB|hbm|ampere|80|2039|19.5|312|||624|400|300|aic,apron
A800 80GB|hbm|ampere|80|2039|19.5|312|||624|400|200|spec
RTX 4050 Laptop|gddr|ada|6|192|8.9|17.8|||71|115||spec
RTX 4060|gddr|ada|8|272|15.1|30.2|60||121|115||llmfit,wiki,spec
RTX 4060 Ti|gddr|ada|8,16|288|22.1|44.1|88||176|160||llmfit,wiki,spec
RTX 4070|gddr|ada|12|504|29.15|58.3|117||233|200||llmfit,hf,wiki
RTX 4070 SUPER|gddr|ada|12|504|35.48|71|142||284|220||llmfit,hf,wiki
RTX 4070 Ti|gddr|ada|12|504|40.09|80.2|160||321|285||llmfit,hf,wiki
RTX 4070 Ti SUPER|gddr|ada|16|672|44.1|88.2|176||353|285||llmfit,hf,wiki
RTX 4080|gddr|ada|16|717|48.7|97.5|195||390|320||llmfit,hf,wiki
RTX 4080 SUPER|gddr|ada|16|736|52.2|104.4|209||418|320||llmfit,hf,wiki
RTX 4090|gddr|ada|24|1008|82.58|165.2|330||661|450||llmfit,hf,wiki,apron
RTX 4090 D|gddr|ada|24|1008|73.5|147|294||588|425||spec
RTX 4060 Laptop|gddr|ada|8|256|11.6|23.2|46||93|115||spec
RTX 4070 Laptop|gddr|ada|8|256|15.6|31.2|62||125|115||spec
RTX 4080 Laptop|gddr|ada|12|432|24.7|49.4|99||198|150||spec
RTX 4090 Laptop|gddr|ada|16|576|33|66|132||264|150||spec
RTX 2000 Ada|gddr|ada|16|224|12|48|96||192|70||wiki,spec
RTX 4000 SFF Ada|gddr|ada|20|280|19.2|76.8|153||307|70||spec
RTX 4000 Ada|gddr|ada|20|360|26.7|106.9|214||428|130||wiki,spec
RTX 4500 Ada|gddr|ada|24|432|39.6|158.5|317||634|210||wiki,spec
RTX 5000 Ada|gddr|ada|32|576|65.3|261|522||1044|250||wiki,spec
RTX 5880 Ada|gddr|ada|48|960|69.3|277|554||1108|285||wiki,spec
RTX 6000 Ada|gddr|ada|48|960|91.1|364|728||1457|300||wiki,spec
L4|gddr|ada|24|300|30.3|121|242||242|72|32|aic,apron
L40|gddr|ada|48|864|90.52|181|362||362|300|32|llmfit,hf,lv
L40S|gddr|ada|48|864|91.6|362.1|733||733|350|32|aic
H100 PCIe|hbm|hopper|80|2000|51|756.5|1513||1513|350|64|aic,la
H100 NVL|hbm|hopper|94|3938|60|835|1671||1671|400|300|spec
H100|hbm|hopper|80|3350|67|989|1978||1978|700|450|aic,la,apron
H100 SXM|hbm|hopper|80|3350|67|989|1978||1978|700|450|aic,la,apron
H800|hbm|hopper|80|3350|67|989|1978||1978|700|200|spec
H20|hbm|hopper|96|4000|44|148|296||296|400|450|spec
H200|hbm|hopper|141|4800|67|989|1978||1978|700|450|aic
H200 NVL|hbm|hopper|141|4800|60|835|1671||1671|600|450|spec
GH200|hbm|hopper|96|4000|67|989|1978||1978|900|450|spec
GH200 144GB|hbm|hopper|144|4900|67|989|1978||1978|900|450|genz
B100|hbm|blackwell|192|8000|60|1750|3500|7000|3500|700|900|spec
B200|hbm|blackwell|180|7700|75|2250|4500|9000|4500|1000|900|aic
B300|hbm|blackwell|268|7750|75|2250|4500|14000|153|1100|900|aic
GB200|hbm|blackwell|185|8000|80|2500|5000|10000|5000|1200|900|aic
GB300|hbm|blackwell|277|8000|80|2500|5000|15000|165|1400|900|aic
RTX 5050|gddr|blackwell|8|320|13.2|26.3|53|105|105|130||spec
RTX 5060|gddr|blackwell|8|448|19.2|38.4|77|154|154|145||wiki,spec
RTX 5060 Ti|gddr|blackwell|8,16|448|23.7|47.4|95|190|190|180||llmfit,wiki,spec
RTX 5070|gddr|blackwell|12|672|30.9|61.7|123|247|247|250||llmfit,wiki,spec
RTX 5070 Ti|gddr|blackwell|16|896|43.9|87.9|176|352|352|300||llmfit,wiki,spec
RTX 5080|gddr|blackwell|16|960|56.3|112.6|225|450|450|360||llmfit,wiki,spec
RTX 5090|gddr|blackwell|32|1792|104.8|209.5|419|838|838|575||llmfit,wiki,spec
RTX 5090 D|gddr|blackwell|32|1792|104.8|209.5|419|838|838|575||spec
RTX 5070 Ti Laptop|gddr|blackwell|12|672|23|46|92|184|184|115||spec
RTX 5080 Laptop|gddr|blackwell|16|896|31.8|63.6|127|254|254|150||spec
RTX 5090 Laptop|gddr|blackwell|24|896|38|76|152|304|304|150||spec
RTX PRO 2000 Blackwell|gddr|blackwell|16|288|17|68|136|272|272|70||spec
RTX PRO 4000 Blackwell|gddr|blackwell|24|672|46.9|187|374|749|374|140||wiki,spec
RTX PRO 4500 Blackwell|gddr|blackwell|32|896|54.9|219.6|439|878|439|200||wiki,spec
RTX PRO 5000 Blackwell|gddr|blackwell|48,72|1344|73.7|294.8|590|1179|590|300||wiki,spec
RTX PRO 6000 Blackwell|gddr|blackwell|96|1792|125|503.8|1007|2015|1007|600|64|wiki,spec
RTX PRO 6000 Blackwell Server|gddr|blackwell|96|1792|117|467.8|935.6|1871.2|935.6|600|64|aic
RTX PRO 6000 Blackwell Max-Q|gddr|blackwell|96|1792|110|438|876|1752|876|300|64|spec
GB10|unified|blackwell|128|273|31|125|250|500|250|140|25|spec
Jetson AGX Orin|unified|ampere|32,64|204.8|5.3|42.5|||85|60||spec
Jetson Orin Nano|unified|ampere|8|102|1.9|15|||33|25||spec
Jetson AGX Thor|unified|blackwell|128|273|7.8|125|258|517|258|130||spec
"""
