"""The models as timm knows them; `python -m ranet_mm.timm SCRIPT` runs timm's scripts with them."""
