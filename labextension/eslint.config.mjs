import hooks from 'eslint-plugin-react-hooks';
import { defineConfig, globalIgnores } from 'eslint/config';
import typescript from 'typescript-eslint';

export default defineConfig(
  globalIgnores(['lib/', '.yarn/', 'style/', 'src/openapi.ts', '*.mjs']),
  typescript.configs.recommendedTypeChecked,
  hooks.configs['recommended-latest'],
  {
    languageOptions: {
      parserOptions: {
        // It has the sources, too: one program for all, not one for each.
        project: 'test/tsconfig.json',
        // No rule looks into comments, which are half of what is declared.
        jsDocParsingMode: 'none',
        tsconfigRootDir: import.meta.dirname
      }
    },
    rules: {
      eqeqeq: 'error',
      curly: 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // Lumino's signals take the object that a method belongs to as an argument of its own.
      '@typescript-eslint/unbound-method': 'off',
      // A token and the interface behind it share a name, and commands are grouped, as in JupyterLab itself.
      '@typescript-eslint/no-redeclare': 'off',
      '@typescript-eslint/no-namespace': 'off'
    }
  }
);
