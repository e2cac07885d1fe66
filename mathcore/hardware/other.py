"""AMD, Apple, Intel and other accelerators, and processors; `hardware` explains the columns."""

AMD = """
RX 580|gddr|polaris|4,8|256|6.2|6.2||||185||spec
RX 5700 XT|gddr|rdna1|8|448|9.75|19.5||||225||spec
RX 6500 XT|gddr|rdna2|4|144|5.8|11.5||||107||spec
RX 6600|gddr|rdna2|8|224|8.9|17.9||||132||spec
RX 6600 XT|gddr|rdna2|8|256|10.6|21.2||||160||llmfit,spec
RX 6650 XT|gddr|rdna2|8|280|10.8|21.6||||180||spec
RX 6700 XT|gddr|rdna2|12|384|13.2|26.4||||230||llmfit,spec
RX 6750 XT|gddr|rdna2|12|432|13.3|26.6||||250||spec
RX 6800|gddr|rdna2|16|512|16.2|32.3||||250||spec
RX 6800 XT|gddr|rdna2|16|512|20.7|41.5||||300||llmfit,spec
RX 6900 XT|gddr|rdna2|16|512|23|46.1||||300||llmfit,spec
RX 6950 XT|gddr|rdna2|16|576|23.7|47.3||||335||llmfit,spec
RX 7600|gddr|rdna3|8|288|21.75|43.5||||165||llmfit,spec
RX 7600 XT|gddr|rdna3|16|288|22.6|45.1||||190||spec
RX 7700 XT|gddr|rdna3|12|432|35.2|70.34||||245||llmfit,hf
RX 7800 XT|gddr|rdna3|16|624|37.3|74.65||||263||llmfit,hf
RX 7900 GRE|gddr|rdna3|16|576|46|91.96||||260||llmfit,hf
RX 7900 XT|gddr|rdna3|20|800|51.5|103||||315||llmfit,hf
RX 7900 XTX|gddr|rdna3|24|960|61.4|122.8||||355||llmfit,hf
Radeon PRO W7700|gddr|rdna3|16|576|28.3|56.6||||190||spec
Radeon PRO W7800|gddr|rdna3|32|576|45.2|90.5||||260||spec
Radeon PRO W7900|gddr|rdna3|48|864|61.3|122.6||||295||spec
RX 9060 XT|gddr|rdna4|8,16|320|25.6|103|205||410|160||spec
RX 9070|gddr|rdna4|16|640|36.1|145|289||578|220||spec; llmfit says 488
RX 9070 XT|gddr|rdna4|16|640|48.7|195|389||779|304||spec; llmfit says 624
AI PRO R9700|gddr|rdna4|32|640|47.8|191|383||766|300||spec
MI50|hbm|gcn5|16,32|1024|13.4|26.8||||300||spec
MI60|hbm|gcn5|32|1024|14.7|29.5||||300||spec
MI100|hbm|cdna1|32|1228.8|23.1|184.6|||184.6|300|138|la
MI210|hbm|cdna2|64|1638|22.6|181|||181|300|150|la
MI250|hbm|cdna2|128|3277|45.3|362.1|||362.1|560|400|la
MI250X|hbm|cdna2|128|3277|47.9|383|||383|560|400|la
MI300A|hbm|cdna3|128|5300|122.6|980|1961||1961|550|384|spec
MI300X|hbm|cdna3|192|5300|163.4|1307|2615||2615|750|400|genz,llmfit
MI308X|hbm|cdna3|192|5300|42|335|670||670|650|400|spec
MI325X|hbm|cdna3|256|6000|163.4|1307|2615||2615|1000|400|genz
MI350X|hbm|cdna4|288|8000|144|2300|4600|9200|4600|1000|400|spec
MI355X|hbm|cdna4|288|8000|157|2500|5000|10000|5000|1400|400|spec
Ryzen AI MAX+ 395|unified|rdna3.5|64,128|256|29.7|59.4||||120||llmfit,spec
Ryzen AI MAX 390|unified|rdna3.5|64,128|256|23.8|47.5||||120||spec
Ryzen AI MAX 385|unified|rdna3.5|32,64|256|23.8|47.5||||120||spec
Radeon 890M|unified|rdna3.5|32,64|120|11.9|23.8||||54||spec
Radeon 880M|unified|rdna3.5|32|120|8.9|17.8||||54||spec
Radeon 860M|unified|rdna3.5|32|120|6.1|12.2||||28||spec
Radeon 840M|unified|rdna3.5|32|120|2.9|5.9||||28||spec
Radeon 780M|unified|rdna3|32|89.6|8.3|16.6||||54||spec
Radeon 760M|unified|rdna3|32|89.6|4.3|8.6||||54||spec
Radeon 680M|unified|rdna2|32|76.8|3.4|6.8||||45||spec
"""

# Dense fp16 is the shader rate: these chips multiply matrices on it. From M5 on each core has
# matrix units, four times that rate. Power is of the whole chip, as measured by reviewers.
APPLE = """
Apple M1|apple|apple1|8,16|68|2.6|2.6||||20||llmfit,hf
Apple M1 Pro|apple|apple1|16,32|200|5.2|5.2||||30||llmfit,hf
Apple M1 Max|apple|apple1|32,64|400|10.4|10.4||||60||llmfit,hf,metal
Apple M1 Max 24-core|apple|apple1|32,64|400|7.8|7.8||||55||spec
Apple M1 Ultra|apple|apple1|64,128|800|21|21||||110||llmfit,hf
Apple M1 Ultra 48-core|apple|apple1|64,128|800|15.9|15.9||||100||spec
Apple M2|apple|apple2|8,16,24|100|3.6|3.6||||22||llmfit,hf
Apple M2 Pro|apple|apple2|16,32|200|6.8|6.8||||35||llmfit,spec
Apple M2 Max|apple|apple2|32,64,96|400|13.49|13.49||||70||llmfit,hf
Apple M2 Max 30-core|apple|apple2|32,64|400|10.7|10.7||||60||spec
Apple M2 Ultra|apple|apple2|64,128,192|800|27.2|27.2||||130||llmfit,hf,metal
Apple M2 Ultra 60-core|apple|apple2|64,128,192|800|21.5|21.5||||120||spec
Apple M3|apple|apple3|8,16,24|100|3.5|3.5||||22||llmfit,spec
Apple M3 Pro|apple|apple3|18,36|150|6.4|6.4||||35||llmfit,spec
Apple M3 Max|apple|apple3|48,64,128|400|14.2|14.2||||70||llmfit,hf
Apple M3 Max 30-core|apple|apple3|36,96|300|10.7|10.7||||60||spec
Apple M3 Ultra|apple|apple3|96,256,512|819|28.4|28.4||||170||llmfit,spec
Apple M3 Ultra 60-core|apple|apple3|96,256|819|21.3|21.3||||150||spec
Apple M4|apple|apple4|16,24,32|120|4.3|4.3||||25||llmfit,spec
Apple M4 Pro|apple|apple4|24,48,64|273|9.2|9.2||||45||llmfit,spec
Apple M4 Pro 16-core|apple|apple4|24,48,64|273|7.4|7.4||||40||spec
Apple M4 Max|apple|apple4|48,64,128|546|18.4|18.4||||90||llmfit,spec
Apple M4 Max 32-core|apple|apple4|36|410|14.7|14.7||||80||spec
Apple M5|apple|apple5|16,24,32|153.6|4.2|16.8||||25||llmfit,spec
Apple M5 Pro|apple|apple5|24,48,64|307|8.3|33||||50||llmfit,spec
Apple M5 Max|apple|apple5|36,48,64,128|614|16.6|66||||90||llmfit,spec
Apple M5 Max 32-core|apple|apple5|36|460|13.3|53||||80||spec
"""

ACCELERATORS = """
Arc A310|gddr|xe|4|124|3.1|24||||75||spec
Arc A380|gddr|xe|6|186|4.2|33||||75||spec
Arc A580|gddr|xe|8|512|12.3|98||||175||spec
Arc A750|gddr|xe|8|512|17.2|138||||225||spec
Arc A770|gddr|xe|8,16|560|19.7|157||||225||spec
Arc B570|gddr|xe2|10|380|11.5|92||||150||spec
Arc B580|gddr|xe2|12|456|13.7|117||||190||spec
Arc Pro B50|gddr|xe2|16|224|10.6|85||||70||spec
Arc Pro B60|gddr|xe2|24|456|12.3|98.3|98.3||197|200|28.4|aic
Arc 140V|unified|xe2|16,32|136.5|4.0|32||||30||spec
Arc 130V|unified|xe2|16|136.5|3.3|26||||30||spec
Iris Xe|unified|xe|16|51.2|2.1|4.2||||28||spec
Data Center GPU Max 1550|hbm|xe|128|3277|52|839||||600|53|spec
Data Center GPU Max 1100|hbm|xe|48|1229|22|352||||300|53|spec
Gaudi2|hbm|gaudi|96|2450|0|432|865|||600|300|spec
Gaudi 3|hbm|gaudi|128|3675|0|1835|1835|||900|300|genz
TPU v4|hbm|tpu|32|1228|0|275||||192|24|genz
TPU v5e|hbm|tpu|16|820|0|197|||393|220|50|genz
TPU v5p|hbm|tpu|95|2765|0|459|||918|350|450|genz
TPU v6e|hbm|tpu|32|1640|0|926|||1852|300|100|genz
Inferentia2|hbm|neuron|32|820|0|190||||0||spec
Trainium1|hbm|neuron|32|820|0|190||||0||spec
Trainium2|hbm|neuron|96|2900|0|667|1299|||500||spec
SN40L|hbm|rdu|64|1600|0|638||||0||spec
"""

# Bandwidth of a processor is that of the fastest memory its maker supports on every channel; what
# is installed is often slower, so a measured figure goes first. Flops nobody states are 0.
PROCESSORS = """
Core i9-13900K|ddr|x86|0|89.6|0|0||||253||lv
Core i9-14900K|ddr|x86|0|89.6|0|0||||253||spec
Core i7-12700K|ddr|x86|0|76.8|0|0||||190||spec
Core Ultra 7 265K|ddr|x86|0|102.4|0|0||||250||spec
Core Ultra 9 285K|ddr|x86|0|102.4|0|0||||250||spec
Core Ultra 7 155H|ddr|x86|0|89.6|0|0||||64||spec
Core 2 Quad Q8400|ddr|x86old|0|12.8|0|0||||95||spec
Intel N100|ddr|x86|0|25.6|0|0||||6||spec
Intel N150|ddr|x86|0|25.6|0|0||||6||spec
Ryzen 9 5950X|ddr|x86|0|51.2|0|0||||105||spec
Ryzen 9 7900X|ddr|x86|0|83.2|0|0||||170||spec
Ryzen 9 7950X|ddr|x86|0|83.2|0|0||||170||spec
Ryzen 9 9950X|ddr|x86|0|89.6|0|0||||170||spec
Ryzen 7 5800X|ddr|x86|0|51.2|0|0||||105||spec
Ryzen 7 7840HS|ddr|x86|0|89.6|0|0||||54||spec
Ryzen 7 8745H|ddr|x86|0|89.6|0|0||||54||spec
Ryzen 5 7640U|ddr|x86|0|89.6|0|0||||28||spec
Ryzen AI 5 340|ddr|x86|0|89.6|0|0||||28||spec
Ryzen AI 9 HX 370|ddr|x86|0|89.6|0|0||||54||spec
Threadripper 7980X|ddr|x86|0|166.4|0|0||||350||spec
Threadripper PRO 7995WX|ddr|x86|0|332.8|0|0||||350||spec
EPYC 7352|ddr|x86|0|204.8|0|0||||155||spec
EPYC 7763|ddr|x86|0|204.8|0|0||||280||spec
EPYC 9654|ddr|x86|0|460.8|0|0||||360||spec
EPYC 9755|ddr|x86|0|576|0|0||||500||spec
Xeon Platinum 8480+|ddr|x86|0|307.2|0|0||||350||spec
Xeon Platinum 8592+|ddr|x86|0|358.4|0|0||||350||spec
Xeon 6980P|ddr|x86|0|614.4|0|0||||500||spec
Altra M128|ddr|arm|0|204.8|0|0||||250||spec
AmpereOne A192|ddr|arm|0|332.8|0|0||||400||spec
Grace|ddr|arm|0|500|0|0||||250||spec
Graviton3|ddr|arm|0|307.2|0|0||||0||spec
Graviton4|ddr|arm|0|537.6|0|0||||0||spec
Raspberry Pi 4|ddr|armold|0|12.8|0|0||||8||spec
Raspberry Pi 400|ddr|armold|0|12.8|0|0||||8||spec
Raspberry Pi 5|ddr|arm|0|17|0|0||||12||spec
Raspberry Pi 500|ddr|arm|0|17|0|0||||12||spec
Raspberry Pi CM5|ddr|arm|0|17|0|0||||12||spec
"""
